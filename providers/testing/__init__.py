"""Honest stand-ins for the clouds, and the one suite that every provider passes. For tests and demonstrations only."""

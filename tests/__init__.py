"""Tests: unit/ needs no services; integration/ and acceptance/ get real ones from tests.services."""

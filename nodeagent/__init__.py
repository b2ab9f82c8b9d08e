"""The node agent: verifies signed releases, applies them, and reports what it observed."""

from __future__ import annotations

__version__ = "0.1.0"

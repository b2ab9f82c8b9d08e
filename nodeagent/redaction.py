"""The node's name for what both ends redact with."""

from __future__ import annotations

from .wire.redaction import Redactor

__all__ = ["Redactor"]

"""SHA-256 digests in the one form used on the wire, `sha256:HEX`."""

from __future__ import annotations

import hashlib

EMPTY = "sha256:" + hashlib.sha256(b"").hexdigest()


def sha256_digest(content: bytes) -> str:
    """`sha256:` and 64 lower-case hex digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()

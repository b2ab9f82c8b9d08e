"""Base64 as the wire has it: standard alphabet, padded, canonical; one text for each sequence of bytes."""

from __future__ import annotations

import base64
import binascii

from .errors import WireError


def to_text(content: bytes) -> str:
    """The one accepted text for these bytes."""
    return base64.b64encode(content).decode("ascii")


def to_bytes(text: str, *, where: str = "") -> bytes:
    """The bytes of a canonical text.

    Raises WireError `wire.base64` for another alphabet, missing padding, white space, or bits left over in the last
    character: a lax decoder would let several texts pass for the same signed bytes.
    """
    try:
        content = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise WireError("wire.base64", "The text is not standard padded base64", where) from None
    if to_text(content) != text:
        raise WireError("wire.base64", "The base64 is not canonical", where)
    return content

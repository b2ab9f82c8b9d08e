"""What the wire refuses: one base error, each with a stable code and no part of what was refused."""

from __future__ import annotations


class WireError(Exception):
    """Bytes that are not the message they should be.

    `code` is public and stable, `where` a JSON pointer or the name of the part, `why` a sentence. Values never appear
    in it: what was refused may hold a secret, and may have been written by an enemy of the log.
    """

    retryable = False

    def __init__(self, code: str, why: str, where: str = ""):
        super().__init__(code, why, where)
        self.code = code
        self.why = why
        self.where = where

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.why}{place} ({self.code})"


class EnvelopeError(WireError):
    """An envelope that is misshapen, of another type, or not signed by a key that counts."""


class RequestError(WireError):
    """A request whose signature, time or headers do not prove the node that it names."""


class SealedError(WireError):
    """A sealed part that this node cannot open."""


class KeysetError(WireError):
    """A keyset that is not the trusted successor of the one that is held."""

"""What can go wrong in an apply: by whose fault, with a stable code and the cure."""

from __future__ import annotations


class ApplyError(Exception):
    """A step cannot be done. `code` is public and stable, `service` names the service at fault ("" if none is).

    The sentence goes into the receipt: no secret in it. `retryable` says whether a new release of the same content may
    succeed later with nothing changed.
    """

    def __init__(self, code: str, sentence: str, *, service: str = "", retryable: bool = False):
        super().__init__(sentence)
        self.code = code
        self.service = service
        self.retryable = retryable


class Interrupted(ApplyError):
    """The apply was cancelled, or its deadline passed; `code` says which."""

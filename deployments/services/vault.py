"""Seals what must be stored and can never be read from the database alone: an AEAD under the key-encryption key."""

from __future__ import annotations

import hashlib

import nacl.exceptions
from django.conf import settings
from nacl.secret import Aead

from ..errors import DeploymentError


class SealBroken(DeploymentError):
    """The ciphertext is not what was sealed for this place, or the key is another one."""

    code, status = "vault.seal_broken", 500

    def __init__(self, context: str, kek_id: str):
        self.context, self.kek_id = context, kek_id

    def __str__(self) -> str:
        return (
            f"What is stored for {self.context} cannot be opened: it was sealed under key {self.kek_id}, or moved here "
            "from another place. Set the value again, or give the control plane the key that it was sealed with."
        )


def current_kek_id() -> str:
    """The first 16 hex digits of the key's SHA-256: names the key, tells nothing of it."""
    return hashlib.sha256(settings.KEK).hexdigest()[:16]


def seal(plaintext: bytes, *, context: str) -> tuple[bytes, str]:
    """Answers (ciphertext, key id). `context` names the place, so that a ciphertext moved elsewhere does not open."""
    return bytes(Aead(settings.KEK).encrypt(plaintext, context.encode())), current_kek_id()


def open_sealed(ciphertext: bytes, *, context: str, kek_id: str) -> bytes:
    """Raises SealBroken."""
    try:
        if kek_id != current_kek_id():
            raise ValueError("another key")
        return Aead(settings.KEK).decrypt(bytes(ciphertext), context.encode())
    except (ValueError, nacl.exceptions.CryptoError) as fault:
        raise SealBroken(context, kek_id) from fault

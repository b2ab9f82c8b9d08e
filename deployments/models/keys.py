"""The deploy keys and the keysets that tell nodes which of them to trust."""

from __future__ import annotations

from django.db import models


class SigningKey(models.Model):
    """An Ed25519 key. `sealed_private` is under the key-encryption key; null where the private half is offline."""

    keyid = models.CharField(primary_key=True, max_length=16)
    role = models.CharField(max_length=7, choices=[("root", "root"), ("release", "release")])
    public = models.BinaryField(max_length=32)
    sealed_private = models.BinaryField(null=True)
    kek_id = models.CharField(max_length=16, blank=True)
    active = models.BooleanField(default=True)
    revoked_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.role} key {self.keyid}"


class KeysetVersion(models.Model):
    """A keyset as it was signed, shipped verbatim to nodes."""

    version = models.PositiveIntegerField(primary_key=True)
    envelope = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"keyset {self.version}"

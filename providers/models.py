"""Provider accounts: which cloud, with which options and (sealed) credentials, and whether calls with it are paused."""

from __future__ import annotations

import uuid

from django.db import models


class ProviderAccount(models.Model):
    """`credentials` is ciphertext, bound to this row's id; plaintext exists while a provider is constructed, only.

    Paused means that the provider refused the credential: nothing is asked of it until a check passes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=64)
    slug = models.CharField(max_length=32)
    options = models.JSONField(default=dict, blank=True)
    credentials = models.BinaryField()
    paused_at = models.DateTimeField(null=True, blank=True)
    paused_code = models.CharField(max_length=64, blank=True)
    paused_message = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["name"], name="provider_account_name_unique"),
            models.CheckConstraint(
                condition=models.Q(paused_at__isnull=True, paused_code="")
                | (models.Q(paused_at__isnull=False) & ~models.Q(paused_code="")),
                name="provider_account_pause_has_a_reason",
            ),
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_paused(self) -> bool:
        return self.paused_at is not None

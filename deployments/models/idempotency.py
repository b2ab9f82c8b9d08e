"""Answers kept for callers that send the same write twice."""

from __future__ import annotations

from django.db import models


class IdempotentCall(models.Model):
    """A write that carried an Idempotency-Key. `status` is null while the first call is still in flight."""

    token_id = models.CharField(max_length=16)
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=71)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["token_id", "key"], name="idempotency_key_unique")]
        indexes = [models.Index(fields=["created_at"], name="idempotency_age")]

    def __str__(self) -> str:
        return self.key

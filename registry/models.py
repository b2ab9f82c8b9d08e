"""The audit of registry credentials, and the quota's window. Columns and constraints only, none for a secret."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.contrib.postgres.fields import ArrayField
from django.db import models


class Kind(models.TextChoices):
    PUSH = "push"
    PULL = "pull"


class Outcome(models.TextChoices):
    MINTED = "minted"
    REFUSED = "refused"
    FAILED = "failed"


class RegistryMintQuerySet(models.QuerySet["RegistryMint"]):
    def in_force(self, *, now: datetime) -> RegistryMintQuerySet:
        return self.filter(outcome=Outcome.MINTED, revoked_at__isnull=True, expires_at__gt=now)


class RegistryMint(models.Model):
    """One request for a credential and what came of it. `jti` names the credential; what it may do is `namespace`
    (push) or `repositories` (pull), and the token service reads it here: a credential without a row is worth nothing.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project_id = models.UUIDField()
    environment_id = models.UUIDField(null=True)
    kind = models.CharField(max_length=4, choices=Kind)
    namespace = models.CharField(max_length=128, blank=True)
    repositories = ArrayField(models.CharField(max_length=255), default=list)
    jti = models.CharField(max_length=32, null=True)
    requested_by = models.JSONField(default=dict)
    outcome = models.CharField(max_length=8, choices=Outcome)
    code = models.CharField(max_length=64, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)

    objects = RegistryMintQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.UniqueConstraint(fields=["jti"], name="mint_jti_unique"),
            models.CheckConstraint(condition=models.Q(kind__in=Kind.values), name="mint_kind_known"),
            models.CheckConstraint(
                name="mint_outcome_complete",
                condition=models.Q(outcome=Outcome.MINTED, code="", jti__isnull=False, expires_at__isnull=False)
                | models.Q(
                    ~models.Q(code=""),
                    outcome__in=[Outcome.REFUSED, Outcome.FAILED],
                    jti__isnull=True,
                    expires_at__isnull=True,
                    revoked_at__isnull=True,
                ),
            ),
        ]
        indexes = [models.Index(fields=["project_id", "-created_at"], name="mint_of_project")]

    def __str__(self) -> str:
        return f"{self.kind} {self.outcome} {self.jti or self.code}"


class QuotaWindow(models.Model):
    """When a project's last mints were begun; at most as many as the quota admits. Written by one guarded upsert."""

    project_id = models.UUIDField(primary_key=True)
    taken_at = ArrayField(models.DateTimeField(), default=list)

    def __str__(self) -> str:
        return f"{self.project_id}: {len(self.taken_at)}"

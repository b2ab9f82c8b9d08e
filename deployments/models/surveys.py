"""Surveys: what each account was last seen to hold, and what is there that no row points to."""

from __future__ import annotations

from django.db import models


class Survey(models.Model):
    """When an account was last looked through, and why not, where that failed. One row for each account's name."""

    account = models.CharField(primary_key=True, max_length=64)
    surveyed_at = models.DateTimeField(null=True)
    poll_after = models.DateTimeField(null=True)
    fault = models.JSONField(null=True)
    claimed_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"survey of {self.account}"


class Orphan(models.Model):
    """A server or volume that carries this installation's labels, and that no row points to.

    Servers are given back after a grace; volumes are only reported. `gone_at` is set when a later survey misses it.
    """

    account = models.CharField(max_length=64)
    kind = models.CharField(max_length=6, choices=[("server", "server"), ("volume", "volume")])
    resource_id = models.CharField(max_length=128)
    environment_id = models.CharField(max_length=64, blank=True)
    resource = models.CharField(max_length=64, blank=True)
    first_seen_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "kind", "resource_id"], name="orphan_once"),
        ]
        ordering = ["first_seen_at"]

    def __str__(self) -> str:
        return f"orphaned {self.kind} {self.resource_id} at {self.account}"

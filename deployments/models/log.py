"""The release log: per project, append-only, each entry's hash covers the one before."""

from __future__ import annotations

from django.db import models

from agents.models import Project


class LogEntry(models.Model):
    """One link. `body` is canonical JSON; `entry_hash` is the SHA-256 of previous hash and body."""

    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="log")
    position = models.PositiveBigIntegerField()
    previous_hash = models.CharField(max_length=71)
    entry_hash = models.CharField(max_length=71)
    body = models.BinaryField()
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "position"], name="log_position_unique")]
        ordering = ["project", "position"]

    def __str__(self) -> str:
        return f"log entry {self.position}"

"""Releases: immutable accepted manifests, numbered per environment, and how far each got."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from timeline.events import Place

from ..domain.states import RELEASE_EDGES, ReleaseStatus
from .environments import Environment


class Release(models.Model):
    """One release. `manifest` holds the canonical bytes; nothing of it changes after the insert, only its status moves.

    `waiting` is null or {on, code, message, since, retry_at}. `evidence` is null or {code, summary, services}.
    `reference_versions` maps each referenced name to its version when the payload was made, `changed_in` each service
    to the sequence that last changed it: together they decide which containers the next release leaves alone.
    """

    NOUN: ClassVar[str] = "release"
    STATE_FIELD: ClassVar[str] = "status"
    EDGES: ClassVar = RELEASE_EDGES

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="releases")
    sequence = models.PositiveBigIntegerField()
    status = models.CharField(max_length=10, choices=[(s, s) for s in ReleaseStatus], default=ReleaseStatus.ACCEPTED)
    manifest = models.BinaryField()
    manifest_digest = models.CharField(max_length=71)
    submitted_by = models.JSONField(default=dict)
    rollback_of = models.PositiveBigIntegerField(null=True)
    plan = models.JSONField(default=dict)
    waiting = models.JSONField(null=True)
    evidence = models.JSONField(null=True)
    routes = models.JSONField(default=list)
    timings_ms = models.JSONField(default=dict)
    reference_versions = models.JSONField(default=dict)
    changed_in = models.JSONField(default=dict)
    was_live = models.BooleanField(default=False)
    serving_after = models.PositiveBigIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    offered_at = models.DateTimeField(null=True)
    # Set by the node's fetch; before it a cancel needs nobody's consent, after it the node has to revert.
    fetched_at = models.DateTimeField(null=True)
    # Moved on by every sign of life of the apply; the deadline counts from here.
    progressed_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    live_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "sequence"], name="release_sequence_unique"),
            models.UniqueConstraint(
                fields=["environment"],
                condition=Q(status__in=[ReleaseStatus.OFFERED, ReleaseStatus.APPLYING]),
                name="release_one_with_node",
            ),
            models.UniqueConstraint(
                fields=["environment"], condition=Q(status=ReleaseStatus.LIVE), name="release_one_live"
            ),
        ]
        indexes = [models.Index(fields=["status"], name="release_unsettled", condition=Q(settled_at__isnull=True))]
        ordering = ["-sequence"]

    def __str__(self) -> str:
        return f"release {self.sequence}"

    def event_place(self) -> Place:
        return {"project_id": self.environment.project_id, "environment_id": self.environment_id}

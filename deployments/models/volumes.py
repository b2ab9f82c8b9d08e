"""Volumes: block storage of an environment, made by a provider, never deleted automatically."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from timeline.events import Place

from ..domain.states import VOLUME_EDGES, VolumeState
from .environments import Environment


class Volume(models.Model):
    """`size_gb` (10^9 bytes each) is what the provider says it has; before it is made, what is asked for.

    `wanted_gb` is what it shall grow to, `server_id` where it is attached or is being attached.
    """

    NOUN: ClassVar[str] = "volume"
    STATE_FIELD: ClassVar[str] = "state"
    EDGES: ClassVar = VOLUME_EDGES

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="volumes")
    name = models.CharField(max_length=63)
    account = models.CharField(max_length=64)
    location = models.CharField(max_length=64, blank=True)
    state = models.CharField(max_length=9, choices=[(s, s) for s in VolumeState], default=VolumeState.REQUESTED)
    size_gb = models.PositiveIntegerField()
    wanted_gb = models.PositiveIntegerField(null=True)
    volume_id = models.CharField(max_length=128, blank=True)
    server_id = models.CharField(max_length=128, blank=True)
    device_path = models.CharField(max_length=255, blank=True)
    # What the node must find as the device's serial before it believes the path.
    device_serial = models.CharField(max_length=128, blank=True, default="", db_default="")
    ever_formatted = models.BooleanField(default=False)
    fault = models.JSONField(null=True)
    claimed_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    # What is under way at the provider, {kind, token, overdue}, and when to look at it next.
    operation = models.JSONField(null=True)
    poll_after = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "name"], condition=~Q(state=VolumeState.DELETED), name="volume_name_unique"
            )
        ]
        ordering = ["name"]

    def __str__(self) -> str:
        return f"volume {self.name}"

    def event_place(self) -> Place:
        return {"project_id": self.environment.project_id, "environment_id": self.environment_id}

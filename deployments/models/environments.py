"""Environments, the long-lived targets of releases, and what was last observed of each."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from agents.models import Project
from timeline.events import Place

from ..domain.states import ENVIRONMENT_EDGES, EnvironmentState


class EnvironmentQuerySet(models.QuerySet["Environment"]):
    def locked(self, environment_id: object) -> Environment:
        """The environment with its row locked until the end of the transaction: whoever else wants it queues here.

        The node is not joined. A join is read before the wait for the lock, and PostgreSQL reads anew only the locked
        row after it: twenty first releases once made four placements because each saw the node of before.
        """
        return self.select_for_update(of=("self",)).select_related("project").get(pk=environment_id)


class Environment(models.Model):
    """A target of releases. `last_sequence` is the counter that releases and stop or retire orders share.

    `value_version` counts the changes of its variables and secrets. `generation` counts the nodes that this environment
    has had; `node` is the one it is placed on now, if any.
    `policy` holds what an operator changed from the defaults (deployments.domain.policy).
    """

    NOUN: ClassVar[str] = "environment"
    STATE_FIELD: ClassVar[str] = "state"
    EDGES: ClassVar = ENVIRONMENT_EDGES

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.PROTECT, related_name="environments")
    slug = models.CharField(max_length=40)
    state = models.CharField(max_length=10, choices=[(s, s) for s in EnvironmentState], default=EnvironmentState.ACTIVE)
    gate_open = models.BooleanField(default=False)
    admitted_profiles = ArrayField(models.CharField(max_length=64), default=list, blank=True)
    policy = models.JSONField(default=dict, blank=True)
    account = models.CharField(max_length=64, default="local")
    location = models.CharField(max_length=64, blank=True)
    size = models.CharField(max_length=64, blank=True)
    node = models.ForeignKey("Node", on_delete=models.PROTECT, null=True, related_name="environments")
    generation = models.PositiveIntegerField(default=0)
    last_sequence = models.PositiveBigIntegerField(default=0)
    value_version = models.PositiveBigIntegerField(default=0)
    # The sweep's own back-off for this row; one failing environment costs the others nothing.
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = EnvironmentQuerySet.as_manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "slug"], name="environment_slug_unique")]
        ordering = ["project__slug", "slug"]

    def __str__(self) -> str:
        return f"{self.project.slug}/{self.slug}"

    def event_place(self) -> Place:
        return {"project_id": self.project_id, "environment_id": self.pk}


class Observation(models.Model):
    """What the node last reported of an environment: its own row, so that reports never touch what people decided.

    `dimensions` maps app, node, routes, disk and drift to {state, code, summary}.
    """

    environment = models.OneToOneField(
        Environment, on_delete=models.CASCADE, primary_key=True, related_name="observation"
    )
    dimensions = models.JSONField(default=dict)
    services = models.JSONField(default=dict)
    routes = models.JSONField(default=list)
    apply = models.JSONField(null=True)
    current_sequence = models.PositiveBigIntegerField(default=0)
    max_seen_sequence = models.PositiveBigIntegerField(default=0)
    reported_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"observation of {self.environment_id}"

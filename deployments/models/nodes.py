"""Nodes, the nonces of their requests, and the log queries that they are asked to answer."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from timeline.events import Place

from ..domain.states import NODE_EDGES, NodeState
from .environments import Environment


class Node(models.Model):
    """A machine with the agent on it. `server_id` is the provider's own id of it.

    `owner` is the environment that a rented machine serves; the local machine serves all and has none. `generation` is
    this node's own, given at enrolment and signed into each of its requests. Keys are the raw 32 bytes.
    """

    NOUN: ClassVar[str] = "node"
    STATE_FIELD: ClassVar[str] = "state"
    EDGES: ClassVar = NODE_EDGES

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.CharField(max_length=64)
    # The provider of the account, by its slug, as people see it; empty on rows of before: the account's own name.
    provider = models.CharField(max_length=32, blank=True, default="", db_default="")
    server_id = models.CharField(max_length=128, blank=True)
    role = models.CharField(
        max_length=10, choices=[("deployment", "deployment"), ("workspace", "workspace")], default="deployment"
    )
    state = models.CharField(max_length=11, choices=[(s, s) for s in NodeState], default=NodeState.REQUESTED)
    owner = models.ForeignKey(Environment, on_delete=models.PROTECT, null=True, related_name="owned_nodes")
    shared = models.BooleanField(default=False)
    generation = models.PositiveIntegerField(default=1)
    enrolment_sha256 = models.BinaryField(max_length=32, null=True)
    enrolment_expires_at = models.DateTimeField(null=True)
    ed25519_public = models.BinaryField(max_length=32, null=True)
    x25519_public = models.BinaryField(max_length=32, null=True)
    boot_id = models.CharField(max_length=64, blank=True)
    counter = models.PositiveBigIntegerField(default=0)
    agent_version = models.CharField(max_length=32, blank=True)
    keyset_version = models.PositiveIntegerField(default=0)
    disk = models.JSONField(default=dict)
    # What its machine told before it was enrolled: the latest phase, and each with its state and time.
    boot = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    last_seen_at = models.DateTimeField(null=True)
    quarantined_at = models.DateTimeField(null=True)
    fault = models.JSONField(null=True)
    # The lease of whoever talks to the provider for this row; an expired one means that the last write is unknown.
    claimed_until = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    retry_at = models.DateTimeField(null=True)
    # What is under way at the provider, {kind, token, overdue}, and when to look at it next.
    operation = models.JSONField(null=True)
    poll_after = models.DateTimeField(null=True)
    # How often a server was asked for: 0 means that the provider never heard of this node.
    servers_asked = models.PositiveIntegerField(default=0, db_default=0)
    # Volumes that came with the server and are paid for on their own; the deletion names them.
    owned_volume_ids = models.JSONField(default=list, db_default=models.Value([], models.JSONField()))
    boot_deadline_at = models.DateTimeField(null=True)
    # Of workspace nodes: the last time that somebody worked there. Heartbeats are no activity.
    active_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["owner"],
                condition=Q(owner__isnull=False) & ~Q(state=NodeState.DELETED),
                name="node_one_per_environment",
            ),
            models.UniqueConstraint(
                fields=["account"], condition=Q(shared=True) & ~Q(state=NodeState.DELETED), name="node_one_shared"
            ),
        ]

    def __str__(self) -> str:
        return f"node {self.pk} ({self.account})"

    def event_place(self) -> Place:
        owner = self.owner
        return {
            "project_id": owner.project_id if owner else uuid.UUID(int=0),
            "environment_id": owner.pk if owner else None,
        }


class NodeNonce(models.Model):
    """A nonce that a node has used, kept for as long as its time stamp would be accepted."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE)
    nonce = models.CharField(max_length=64)
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["node", "nonce"], name="node_nonce_once")]
        indexes = [models.Index(fields=["at"], name="node_nonce_age")]

    def __str__(self) -> str:
        return self.nonce


class LogQuery(models.Model):
    """A question for log lines that a node answers; the answer is read once and the row removed."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE)
    node = models.ForeignKey(Node, on_delete=models.CASCADE)
    service = models.CharField(max_length=63, blank=True)
    since = models.CharField(max_length=40, blank=True)
    limit = models.PositiveIntegerField(default=100)
    cursor = models.CharField(max_length=512, blank=True)
    answer = models.JSONField(null=True)
    asked_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"log query {self.pk}"

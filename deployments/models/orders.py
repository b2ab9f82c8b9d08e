"""Orders: stop and retire, which take a sequence of the same counter as releases do."""

from __future__ import annotations

import uuid
from typing import ClassVar

from django.db import models
from django.db.models import Q

from timeline.events import Place

from ..domain.states import ORDER_EDGES, OrderStatus
from .environments import Environment


class Order(models.Model):
    """Tells the node to take an app down. `stopped_sequence` is the release that was live, 0 if none was."""

    NOUN: ClassVar[str] = "order"
    STATE_FIELD: ClassVar[str] = "status"
    EDGES: ClassVar = ORDER_EDGES

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="orders")
    sequence = models.PositiveBigIntegerField()
    action = models.CharField(max_length=6, choices=[("stop", "stop"), ("retire", "retire")])
    status = models.CharField(max_length=8, choices=[(s, s) for s in OrderStatus], default=OrderStatus.ACCEPTED)
    stopped_sequence = models.PositiveBigIntegerField(default=0)
    evidence = models.JSONField(null=True)
    ordered_by = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    offered_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["environment", "sequence"], name="order_sequence_unique"),
            models.UniqueConstraint(
                fields=["environment"],
                condition=Q(status__in=[OrderStatus.ACCEPTED, OrderStatus.OFFERED]),
                name="order_one_open",
            ),
        ]
        ordering = ["-sequence"]

    def __str__(self) -> str:
        return f"{self.action} order {self.sequence}"

    def event_place(self) -> Place:
        return {"project_id": self.environment.project_id, "environment_id": self.environment_id}

"""Payloads, stored as they were signed and shipped verbatim, and the signed receipts that answer them."""

from __future__ import annotations

from django.db import models

from .environments import Environment
from .nodes import Node


class Payload(models.Model):
    """What a node fetches. Made anew with the same sequence and digest when it expires or the node changes."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="payloads")
    node = models.ForeignKey(Node, on_delete=models.PROTECT)
    sequence = models.PositiveBigIntegerField()
    generation = models.PositiveIntegerField()
    envelope = models.BinaryField()
    compose = models.BinaryField()
    routes = models.BinaryField()
    volumes = models.BinaryField()
    sealed = models.BinaryField()
    release_digest = models.CharField(max_length=71)
    issued_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["environment", "sequence", "-issued_at"], name="payload_newest")]

    def __str__(self) -> str:
        return f"payload {self.sequence} for {self.node_id}"


class Receipt(models.Model):
    """A node's signed word on an outcome, kept verbatim."""

    environment = models.ForeignKey(Environment, on_delete=models.PROTECT, related_name="receipts")
    node = models.ForeignKey(Node, on_delete=models.PROTECT)
    sequence = models.PositiveBigIntegerField()
    outcome = models.CharField(max_length=10)
    envelope = models.BinaryField()
    digest = models.CharField(max_length=71)
    received_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "digest"], name="receipt_once")]

    def __str__(self) -> str:
        return f"receipt {self.sequence}: {self.outcome}"

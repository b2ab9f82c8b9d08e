"""Sessions, messages and events: what was said and what happened. No foreign key leads out: records outlive all."""

from __future__ import annotations

import uuid

from django.db import models


class Session(models.Model):
    """One run of an agent. `client_id` is the agent's own name for it, unique in the project."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project_id = models.UUIDField()
    client_id = models.CharField(max_length=128)
    profile = models.CharField(max_length=64, blank=True)
    title = models.CharField(max_length=300, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project_id", "client_id"], name="session_client_id_unique")]
        indexes = [models.Index(fields=["project_id", "-started_at"], name="session_newest")]

    def __str__(self) -> str:
        return self.title or self.client_id


class Message(models.Model):
    """What was said in a session. `client_id` makes a batch safe to send twice."""

    session = models.ForeignKey(Session, on_delete=models.CASCADE, related_name="messages")
    client_id = models.CharField(max_length=128)
    role = models.CharField(max_length=16)
    text = models.TextField()
    at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["session", "client_id"], name="message_client_id_unique")]
        indexes = [models.Index(fields=["session", "id"], name="message_order")]

    def __str__(self) -> str:
        return f"{self.role}: {self.text[:80]}"


class Severity(models.TextChoices):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    ALARM = "alarm"


class Event(models.Model):
    """Something that happened to a subject. `kind` reads `noun:what`, as in `release:live`. Only ever added."""

    at = models.DateTimeField()
    project_id = models.UUIDField()
    environment_id = models.UUIDField(null=True)
    session_id = models.UUIDField(null=True)
    subject_kind = models.CharField(max_length=32)
    subject_id = models.CharField(max_length=64)
    kind = models.CharField(max_length=64)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.INFO)
    by = models.JSONField(default=dict)
    data = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["subject_kind", "subject_id", "id"], name="event_of_subject"),
            models.Index(fields=["environment_id", "id"], name="event_of_environment"),
            models.Index(fields=["project_id", "id"], name="event_of_project"),
            models.Index(
                fields=["session_id", "id"], name="event_of_session", condition=models.Q(session_id__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject_id}"

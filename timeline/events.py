"""Recording and reading events: one call writes a line of the story, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from .models import Event

Subject = tuple[str, object]


class Place(TypedDict):
    """Where an event belongs."""

    project_id: UUID
    environment_id: UUID | None


def record(
    *,
    project_id: UUID,
    subject: Subject,
    kind: str,
    environment_id: UUID | None = None,
    session_id: UUID | None = None,
    severity: str = "info",
    by: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
) -> Event:
    """Add one event. `subject` is (noun, id); `by` says who in plain values, e.g. {"token": "...", "profile": "..."}.

    `data` must hold nothing secret: it is shown to people and agents as it is.
    """
    noun, subject_id = subject
    return Event.objects.create(
        at=timezone.now(),
        project_id=project_id,
        environment_id=environment_id,
        session_id=session_id,
        subject_kind=noun,
        subject_id=str(subject_id),
        kind=kind,
        severity=severity,
        by=dict(by or {}),
        data=dict(data or {}),
    )


def of_subject(noun: str, subject_id: object) -> QuerySet[Event]:
    """The story of one subject, oldest first."""
    return Event.objects.filter(subject_kind=noun, subject_id=str(subject_id)).order_by("id")

"""Recording what agents said: sessions and their messages, in batches that are safe to send twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction

from .models import Message, Session


@dataclass(frozen=True, slots=True)
class Said:
    """One message. `client_id` is the agent's own name for it, unique in the session; `role` is user, agent or tool."""

    client_id: str
    role: str
    text: str
    at: datetime


def begin(*, project_id: UUID, client_id: str, started_at: datetime, profile: str = "", title: str = "") -> Session:
    """The session of that client id; a second call answers the one that was begun, unchanged."""
    defaults = {"started_at": started_at, "profile": profile, "title": title}
    return Session.objects.get_or_create(project_id=project_id, client_id=client_id, defaults=defaults)[0]


def say(*, session: Session, messages: Iterable[Said]) -> int:
    """Add messages in their order; those that are there already are left as they are. Answers how many are new."""
    rows = [
        Message(session=session, client_id=each.client_id, role=each.role, text=each.text, at=each.at)
        for each in messages
    ]
    with transaction.atomic():
        before = session.messages.count()
        Message.objects.bulk_create(rows, ignore_conflicts=True)
        return session.messages.count() - before


def end(*, session: Session, ended_at: datetime) -> bool:
    """End a session. False if it had ended: the first end stays."""
    return bool(Session.objects.filter(pk=session.pk, ended_at__isnull=True).update(ended_at=ended_at))

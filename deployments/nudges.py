"""Nudges to the worker: sent after the commit, allowed to be lost, because the sweeps find whatever one was for."""

from __future__ import annotations

import logging
from uuid import UUID

from celery import current_app
from django.db import transaction

log = logging.getLogger(__name__)


def advance(environment_id: UUID, *, after_seconds: float = 0) -> None:
    """Have the worker advance this environment so many seconds after the caller's transaction commits."""

    def send() -> None:
        try:
            # By name, since tasks import services, and services send nudges.
            current_app.send_task(
                "deployments.tasks.advance_environment", [str(environment_id)], countdown=after_seconds or None
            )
        except Exception as fault:  # noqa: BLE001 - whatever the broker's client raises, the sweep comes within seconds
            log.warning("no nudge for environment %s, the sweep will find it: %s", environment_id, type(fault).__name__)

    transaction.on_commit(send)

"""Celery's side: each task calls one service, and every nudge has a sweep that makes it dispensable."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from .services import housekeeping, reconciliation, releases, shutdowns, surveys, sweeps, workspaces


@shared_task
def advance_environment(environment_id: str) -> None:
    reconciliation.advance(UUID(environment_id))


@shared_task
def sweep_unfinished() -> int:
    return sweeps.each("unfinished", reconciliation.unfinished(limit=sweeps.BATCH), reconciliation.advance)


@shared_task
def sweep_deadlines() -> int:
    late = sweeps.each("late releases", releases.overdue(limit=sweeps.BATCH), releases.give_up_on)
    return late + sweeps.each("late orders", shutdowns.overdue(limit=sweeps.BATCH), shutdowns.give_up_on)


@shared_task
def sweep_silent_nodes() -> int:
    return housekeeping.mark_silent_nodes()


@shared_task
def sweep_accounts() -> int:
    return sweeps.each("accounts", surveys.due(), surveys.survey)


@shared_task
def sweep_workspaces() -> int:
    return workspaces.sweep()


@shared_task
def sweep_expired() -> int:
    return housekeeping.forget_expired()

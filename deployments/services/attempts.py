"""Leases and back-off of rows that exchanges with a provider drive: one at a time, each row's failure its own."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

LEASE_SECONDS = 60
_FIRST_PAUSE_SECONDS = 2
_LONGEST_PAUSE_SECONDS = 300


def claim(row: Any) -> bool:
    """Take the row for one exchange. False: somebody else has it, or its back-off is not over.

    Whoever takes over an expired lease must treat the last write as unknown; calls by key are idempotent for that.
    """
    now = timezone.now()
    free = Q(claimed_until__isnull=True) | Q(claimed_until__lt=now)
    due = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    model = type(row)
    return bool(
        model.objects.filter(free & due, pk=row.pk).update(claimed_until=now + timedelta(seconds=LEASE_SECONDS))
    )


def succeeded(row: Any) -> None:
    type(row).objects.filter(pk=row.pk).update(claimed_until=None, failures=0, retry_at=None, fault=None)


def failed(row: Any, *, code: str, message: str, retry_after_seconds: float | None = None) -> None:
    """Record why, release the lease, and wait twice as long as last time, five minutes at most."""
    pause = retry_after_seconds or min(_FIRST_PAUSE_SECONDS * 2 ** min(row.failures, 10), _LONGEST_PAUSE_SECONDS)
    retry_at = timezone.now() + timedelta(seconds=pause)
    fault = {"code": code, "message": message, "since": timezone.now().isoformat(), "retry_at": retry_at.isoformat()}
    type(row).objects.filter(pk=row.pk).update(
        claimed_until=None, failures=F("failures") + 1, retry_at=retry_at, fault=fault
    )

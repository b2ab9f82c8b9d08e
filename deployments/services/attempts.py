"""Leases, polls and back-off of rows that exchanges with a provider drive: one at a time, each row's failure its own.

An exchange is: `claim` the row, talk to the provider outside of any transaction, then `record` or `failed`, which write
what came of it only if the lease is still ours. Who dies in between leaves an expired lease behind, and whoever takes
it over must treat the last write as unknown.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from django.utils import timezone

from providers.errors import AccountPaused, AuthFailed, ProviderError, RateLimited, Retry
from providers.idempotent import SETTLE_WINDOW_SECONDS
from providers.ports import Operation

from .. import nudges
from ..errors import DeploymentError

LEASE_SECONDS = 60
FIRST_PAUSE_SECONDS = 2.0
"""Before the second try; it doubles from there."""
CAPACITY_PAUSE_SECONDS = 15.0
"""The same, where the provider has nothing left to give."""
LONGEST_PAUSE_SECONDS = 300.0
# A row that only an operator's check can help is looked at this often, in case the check's own nudge was lost.
_PAUSED_SECONDS = 300.0
MOST_FAILURES = 20
"""In a row, about an hour: then a release that waits for it fails. Missing capacity, a rate limit and a paused account
are waited for without end, as they are told."""

Fault = ProviderError | DeploymentError


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed row. `interrupted_at` is the end of an earlier lease whose holder never came back, else None."""

    row: Any
    until: datetime
    environment_id: UUID | None
    interrupted_at: datetime | None

    @property
    def settles_at(self) -> datetime | None:
        """Until when what the earlier holder may have written last can be missing from the provider's lists."""
        return self.interrupted_at and self.interrupted_at + timedelta(seconds=SETTLE_WINDOW_SECONDS)


def claim(row: Any, *, environment_id: UUID | None = None) -> Lease | None:
    """Take the row for one exchange, and read it anew. None: somebody else has it, or nothing of it is due yet.

    The worker is nudged to look at `environment_id` again when the row is due next.
    """
    now = timezone.now()
    rows = type(row)._default_manager.filter(pk=row.pk)
    before = rows.values_list("claimed_until", flat=True).first()
    if before is not None and before > now:
        return None
    until = now + timedelta(seconds=LEASE_SECONDS)
    if not rows.filter(_due(now), claimed_until=before).update(claimed_until=until):
        return None
    row.refresh_from_db()
    return Lease(row, until, environment_id, before)


def _due(now: datetime) -> Q:
    retry = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    return retry & (Q(poll_after__isnull=True) | Q(poll_after__lte=now))


def is_due(row: Any) -> bool:
    """Whether `claim` would take it now, as far as this copy of the row tells."""
    now = timezone.now()
    return all(each is None or each <= now for each in (row.claimed_until, row.retry_at, row.poll_after))


def record(
    lease: Lease, *, kind: str = "", pending: Operation | None = None, after_seconds: float = 0, **changes: Any
) -> bool:
    """Write what the exchange brought and release the lease. `pending` is what is still under way, as `kind`.

    The row is due again when the operation should be polled, or after so many seconds. False: the lease was lost, and
    nothing was written: whoever has it finds out for itself.
    """
    pause = pending.poll_after_s if pending else after_seconds
    operation = {"kind": kind, "token": pending.token, "overdue": pending.overdue} if pending else None
    poll_after = timezone.now() + timedelta(seconds=pause) if pause else None
    fresh = {"failures": 0, "retry_at": None, "fault": None, **changes}
    return _finish(lease, pause, operation=operation, poll_after=poll_after, **fresh)


def failed(lease: Lease, fault: Fault, **changes: Any) -> bool:
    """Record why, release the lease, and wait twice as long as last time, five minutes at most."""
    pause = pause_seconds(fault, lease.row.failures)
    told = told_of(fault, lease.row.fault, failures=lease.row.failures + 1, pause=pause)
    counted = 0 if isinstance(fault, AuthFailed | AccountPaused) else 1
    retry_at = datetime.fromisoformat(told["retry_at"])
    return _finish(
        lease, pause, **{"failures": F("failures") + counted, "retry_at": retry_at, "fault": told, **changes}
    )


def finish_survey(lease: Lease, *, after_seconds: float) -> bool:
    """Of a row that has no operations: it went well, and is due again after so many seconds."""
    now = timezone.now()
    fresh = {"failures": 0, "retry_at": None, "fault": None, "surveyed_at": now}
    return _finish(lease, None, poll_after=now + timedelta(seconds=after_seconds), **fresh)


def wait(lease: Lease, until: datetime) -> bool:
    """Give the lease back with nothing done; the row is due again at that time."""
    return _finish(lease, (until - timezone.now()).total_seconds(), poll_after=until)


def give_back(lease: Lease) -> bool:
    """Nothing was to be done."""
    return _finish(lease, None)


def _finish(lease: Lease, pause_seconds: float | None, **changes: Any) -> bool:
    rows = type(lease.row)._default_manager.filter(pk=lease.row.pk, claimed_until=lease.until)
    kept = bool(rows.update(claimed_until=None, **changes))
    if kept:
        lease.row.refresh_from_db()
        if lease.environment_id and pause_seconds is not None:
            nudges.advance(lease.environment_id, after_seconds=max(pause_seconds, 0))
    return kept


def pause_seconds(fault: Fault, failures: int) -> float:
    """How long to wait after this failure, when there were so many before. Jitter keeps a crowd from coming at once."""
    retry = fault.retry if isinstance(fault, ProviderError) else Retry.YES
    if isinstance(fault, AccountPaused) or retry is Retry.PAUSE:
        return _PAUSED_SECONDS
    pause = doubled(CAPACITY_PAUSE_SECONDS if retry is Retry.LATER else FIRST_PAUSE_SECONDS, failures)
    if isinstance(fault, RateLimited) and fault.retry_after_seconds:
        pause = max(pause, fault.retry_after_seconds)
    if retry is Retry.RECONCILE:
        pause = max(pause, SETTLE_WINDOW_SECONDS)
    return pause * random.uniform(1.0, 1.2)  # noqa: S311 - spreads load, hides nothing


def doubled(first_seconds: float, failures: int) -> float:
    """The pause after so many failures, five minutes at most."""
    return min(first_seconds * 2.0 ** min(failures, 10), LONGEST_PAUSE_SECONDS)


def fault_of(code: str, message: str) -> dict[str, Any]:
    """What the row says of a fault that is for good and is not a provider's refusal."""
    now = timezone.now().isoformat()
    return {"code": code, "message": message, "since": now, "at": now, "retry_at": None, "is_final": True}


def told_of(fault: Fault, before: Mapping[str, Any] | None, *, failures: int, pause: float | None) -> dict[str, Any]:
    """What the row says of a failure: since when it is this one, whether for good, and when it is tried again."""
    now = timezone.now()
    same = before is not None and before["code"] == fault.code
    return {
        "code": fault.code,
        "message": str(fault),
        "since": before["since"] if same and before else now.isoformat(),
        "at": now.isoformat(),
        "retry_at": (now + timedelta(seconds=pause)).isoformat() if pause is not None else None,
        "is_final": is_final(fault, failures),
    }


def is_final(fault: Fault, failures: int) -> bool:
    """Whether time alone cannot help, or has had its chance."""
    if isinstance(fault, AccountPaused) or (isinstance(fault, ProviderError) and fault.retry is Retry.PAUSE):
        return False
    if not fault.retryable:
        return True
    waits = isinstance(fault, RateLimited) or (isinstance(fault, ProviderError) and fault.retry is Retry.LATER)
    return not waits and failures >= MOST_FAILURES


def forgive(row: Any) -> None:
    """A new decision: what failed before is tried again at once, and counted from nought."""
    type(row)._default_manager.filter(pk=row.pk).update(failures=0, retry_at=None, fault=None)
    row.refresh_from_db()


def next_look(row: Any) -> datetime | None:
    """When the row is due, None for now."""
    times = [each for each in (row.claimed_until, row.retry_at, row.poll_after) if each is not None]
    return max(times) if times else None

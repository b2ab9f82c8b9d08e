"""Runs a sweep so that one bad row stops nobody: each row alone, its failure logged, counted and backed off."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from django.db.models import F
from django.utils import timezone

from ..models import Environment

Row = TypeVar("Row")
log = logging.getLogger(__name__)
BATCH = 200


def each(name: str, rows: Iterable[Row], act: Callable[[Row], object]) -> int:
    """Answers how many rows failed."""
    failures = 0
    for row in rows:
        try:
            act(row)
        except Exception:
            failures += 1
            log.exception("sweep %s failed for %s; it is tried again with the next sweep", name, row)
    return failures


def back_off(environment_id: UUID) -> None:
    """After an unexpected failure: half a minute at first, ten at most, so that a broken row does not eat the sweep."""
    failures = Environment.objects.filter(pk=environment_id).values_list("failures", flat=True).first() or 0
    pause = min(30 * 2 ** min(failures, 5), 600)
    Environment.objects.filter(pk=environment_id).update(
        failures=F("failures") + 1, retry_at=timezone.now() + timedelta(seconds=pause)
    )

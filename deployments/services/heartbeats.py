"""Heartbeats: what a node observed of the environments that are placed on it, and that it lives."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from nodeagent.wire.heartbeat import ApplyReport, EnvironmentReport, Heartbeat
from timeline import events
from timeline.transitions import transition

from .. import nudges
from ..domain.states import RELEASE_WITH_NODE, NodeState
from ..errors import DeploymentError
from ..models import Environment, Node, Observation, Release
from . import storable

# Of a column; the wire's numbers are larger, and a version that was never made is no more than a curiosity.
_LARGEST_INTEGER = 2**31 - 1
DIMENSIONS = ("app", "node", "routes", "disk", "drift")
_RETURNING = frozenset({NodeState.ENROLLED, NodeState.UNREACHABLE})


class StaleHeartbeat(DeploymentError):
    """Overtaken by a later one of the same boot: what is observed never goes backwards."""

    code = "heartbeat.stale"

    def __str__(self) -> str:
        return "A later heartbeat of this boot came first. The counter grows with each one; send the next."


def take(*, node: Node, heartbeat: Heartbeat) -> None:
    """Store what was observed. Nothing that people or agents decided changes by it, and no release becomes live by it.

    Environments that are not placed on this node now are passed over: what the node says of them is not its business.
    Raises StaleHeartbeat.
    """
    with transaction.atomic():
        placed = {str(each.pk): each for each in Environment.objects.filter(node=node)}
        reports = {each.environment_id: each for each in heartbeat.environments if each.environment_id in placed}
        _observe(reports)
        for environment_id, report in reports.items():
            if report.apply is not None:
                _move_progress(environment_id, report.apply)
        # The node's row last: whoever takes an environment off its node locks in this order, too.
        _count(node, heartbeat)
        if node.state in _RETURNING and transition(node, to=NodeState.READY, by={"node": str(node.pk)}):
            for environment in placed.values():
                nudges.advance(environment.pk)


def _count(node: Node, heartbeat: Heartbeat) -> None:
    """One conditional UPDATE: the counter grows within a boot, and another boot begins it anew."""
    was_boot = node.boot_id
    changes: dict[str, Any] = {
        "counter": heartbeat.counter,
        "boot_id": heartbeat.boot_id,
        "agent_version": heartbeat.agent_version[:32],
        "keyset_version": min(heartbeat.keyset_version, _LARGEST_INTEGER),
        "disk": dataclasses.asdict(heartbeat.disk),
        "last_seen_at": timezone.now(),
    }
    newer = ~Q(boot_id=heartbeat.boot_id) | Q(counter__lt=heartbeat.counter)
    if not Node.objects.filter(newer, pk=node.pk).update(**changes):
        raise StaleHeartbeat
    if was_boot and was_boot != heartbeat.boot_id:
        events.record(
            **node.event_place(),
            subject=("node", node.pk),
            kind="node:booted",
            data={"was": was_boot, "is": heartbeat.boot_id},
        )


def _observe(reports: Mapping[str, EnvironmentReport]) -> None:
    now = timezone.now()
    rows = [
        Observation(
            environment_id=environment_id,
            dimensions={name: storable.plain(getattr(report.observed, name)) for name in DIMENSIONS},
            services=storable.plain(report.observed.services),
            routes=storable.plain(report.observed.routes_served),
            apply=storable.plain(report.apply),
            current_sequence=report.current_seq,
            max_seen_sequence=report.max_seen_seq,
            reported_at=now,
        )
        for environment_id, report in sorted(reports.items())
    ]
    kept = [field.name for field in Observation._meta.concrete_fields if not field.primary_key]
    Observation.objects.bulk_create(rows, update_conflicts=True, unique_fields=["environment"], update_fields=kept)


def _move_progress(environment_id: str, apply: ApplyReport) -> None:
    """The deadline counts from the last progress that the node reported; never from a time that is yet to come."""
    at = min(timezone.now(), _moment(apply.progressed_at))
    Release.objects.filter(
        environment_id=environment_id, sequence=apply.seq, status__in=RELEASE_WITH_NODE, progressed_at__lt=at
    ).update(progressed_at=at)


def _moment(unix_seconds: int) -> datetime:
    """What no calendar holds is the beginning of time: it moves nothing."""
    try:
        return datetime.fromtimestamp(unix_seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, tz=UTC)

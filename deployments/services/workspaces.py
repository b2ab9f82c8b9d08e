"""Workspace nodes: a warm pool that is kept filled, and an end for those that are idle, too old or silent.

Deployment nodes look idle for ever and are none of this: the role is in every query here, and again in the locked read
that each claim is made from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from timeline.transitions import transition

from ..domain.states import NodeState
from ..models import Environment, Node
from . import accounts, servers, sweeps

ROLE = "workspace"
IDLE_SECONDS = 1800
MAX_LIFE_SECONDS = 24 * 3600
STALE_SECONDS = 600
BOOT_GRACE_SECONDS = 900
"""So long after it was asked for, a node is neither idle nor silent: it is booting."""
_IN_USE = (NodeState.READY, NodeState.UNREACHABLE)
_LIVING = (NodeState.READY, NodeState.WARM, NodeState.UNREACHABLE)
_IN_MOTION = (NodeState.REQUESTED, NodeState.CREATING, NodeState.BOOTING, NodeState.DELETING)

By = Mapping[str, str]


def request(account: str) -> Node:
    """A row for one more workspace node; the sweep has it made."""
    return Node.objects.create(account=account, provider=accounts.slug_of(account), role=ROLE)


def claim(account: str, *, by: By) -> Node | None:
    """Take a warm node for a piece of work. None: none is warm. Of two that claim at once, each gets another one."""
    with transaction.atomic():
        node = (
            Node.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(account=account, role=ROLE, state=NodeState.WARM, quarantined_at__isnull=True)
            .order_by("created_at")
            .first()
        )
        if node is None or not transition(node, to=NodeState.READY, by=by, active_at=timezone.now()):
            return None
    return node


def touch(node: Node) -> None:
    """Somebody works there now."""
    Node.objects.filter(pk=node.pk, role=ROLE).update(active_at=timezone.now())


def sweep() -> int:
    """End what has to end, warm up what is ready, keep the pools filled, and drive what is in motion."""
    failed = sweeps.each("workspaces to end", _to_end(), _end)
    failed += sweeps.each("workspaces to warm", _ids(_fresh()), _warm)
    failed += sweeps.each("workspace pools", list(_pools()), _fill)
    return failed + sweeps.each("workspaces in motion", _ids(_rows(state__in=_IN_MOTION)), _drive)


def _rows(*conditions: Q, **fields: Any) -> QuerySet[Node]:
    return Node.objects.filter(*conditions, role=ROLE, shared=False, **fields)


def _ids(rows: QuerySet[Node]) -> list[UUID]:
    return list(rows.order_by("created_at").values_list("pk", flat=True)[: sweeps.BATCH])


def _past(seconds: int) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def is_over() -> Q:
    """Idle by activity (heartbeats are none), past its life, or silent; never within the boot grace."""
    idle = Q(state__in=_IN_USE, active_at__lt=_past(IDLE_SECONDS))
    old = Q(state__in=_LIVING, created_at__lt=_past(MAX_LIFE_SECONDS))
    silent = Q(state__in=_LIVING, last_seen_at__lt=_past(STALE_SECONDS))
    failed = Q(state__in=[NodeState.FAILED, NodeState.LOST])
    return Q(created_at__lt=_past(BOOT_GRACE_SECONDS)) & (idle | old | silent) | failed


def _to_end() -> list[UUID]:
    return _ids(_rows(is_over()))


def _end(node_id: UUID) -> None:
    """Judged anew under the row's lock: activity, a claim or a heartbeat may have come since the query."""
    _move(node_id, is_over(), NodeState.DELETING)


def _fresh() -> QuerySet[Node]:
    return _rows(state=NodeState.READY, active_at__isnull=True)


def _warm(node_id: UUID) -> None:
    _move(node_id, Q(state=NodeState.READY, active_at__isnull=True), NodeState.WARM)


def _move(node_id: UUID, condition: Q, to: NodeState) -> bool:
    with transaction.atomic():
        node = Node.objects.select_for_update(of=("self",)).filter(condition, pk=node_id, role=ROLE).first()
        return node is not None and transition(node, to=to)


def _pools() -> Mapping[str, int]:
    """Account to the number of nodes kept warm there."""
    pools: Mapping[str, int] = getattr(settings, "WORKSPACE_POOLS", {})
    return pools


def _fill(account: str) -> None:
    """One more at a time: the next sweep goes on, should that not be enough."""
    coming = _rows(
        account=account,
        state__in=[NodeState.REQUESTED, NodeState.CREATING, NodeState.BOOTING, NodeState.ENROLLED, NodeState.WARM],
    )
    unclaimed = _rows(account=account, state=NodeState.READY, active_at__isnull=True)
    if coming.count() + unclaimed.count() < _pools()[account]:
        request(account)


def _drive(node_id: UUID) -> None:
    node = Node.objects.get(pk=node_id, role=ROLE)
    # A workspace node is a place of its own: its key, location and size are not those of any environment.
    place = Environment(pk=node.pk, account=node.account)
    act: Callable[[Environment, Node], object] = (
        servers.give_back if node.state == NodeState.DELETING else servers.drive
    )
    if not servers.time_out(node):
        act(place, node)

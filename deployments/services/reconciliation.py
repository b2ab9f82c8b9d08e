"""The one entry for everything that has to move in an environment, whoever noticed that it should."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from ..domain.states import EnvironmentState, NodeState, ReleaseStatus, VolumeState
from ..models import Environment, Node, Release, Volume
from . import attempts, releases, servers, shutdowns, sweeps, volumes

_ENDING = frozenset({EnvironmentState.STOPPING, EnvironmentState.RETIRING})
_RUNNING = frozenset({EnvironmentState.ACTIVE, EnvironmentState.STARTING})
# Whatever nudge was lost, the sweep comes by within this time.
LOOK_AGAIN_SECONDS = 30


def advance(environment_id: UUID) -> None:
    """Bring one environment a step closer to what is wanted of it. Safe to run at any time, by any number."""
    environment = Environment.objects.select_related("project", "node").filter(pk=environment_id).first()
    if environment is None:
        return
    try:
        if environment.node is not None and environment.node.state == NodeState.LOST:
            releases.let_go_of_lost(environment)
        if environment.state in _ENDING:
            shutdowns.advance(environment)
        elif environment.state in _RUNNING:
            releases.advance(environment)
        else:
            volumes.settle(environment)
    except Exception:
        sweeps.back_off(environment_id)
        raise
    _come_back(environment)


def unfinished(*, limit: int) -> list[UUID]:
    """Environments with something to move and due to be looked at, those that have waited longest first."""
    now = timezone.now()
    here = {"environment": OuterRef("pk")}
    waiting = Exists(Release.objects.filter(**here, status__in=[ReleaseStatus.ACCEPTED, ReleaseStatus.WAITING]))
    moving = Exists(
        Volume.objects.filter(
            Q(state__in=volumes.UNDER_WAY) | Q(wanted_gb__isnull=False) | Q(state=VolumeState.REQUESTED), **here
        )
    )
    lost = Q(node__state=NodeState.LOST) & Exists(
        Release.objects.filter(**here, status__in=[ReleaseStatus.OFFERED, ReleaseStatus.APPLYING])
    )
    node = Q(node__operation__isnull=False) | Q(
        node__server_id="", node__servers_asked__gt=0, node__state__in=servers.MAY_HAVE_SERVER
    )
    ends = Q(state__in=[*_ENDING, EnvironmentState.STARTING])
    due = Q(retry_at__isnull=True) | Q(retry_at__lte=now)
    return list(
        Environment.objects.filter(waiting | moving | lost | node | ends, due)
        .order_by(F("retry_at").asc(nulls_first=True), "pk")
        .values_list("pk", flat=True)[:limit]
    )


def _come_back(environment: Environment) -> None:
    """When the sweep looks next, should every nudge be lost: when a row is due, and at the latest in half a minute."""
    latest = timezone.now() + timedelta(seconds=LOOK_AGAIN_SECONDS)
    times = list(_times(environment))
    due = [each for each in times if each is not None and each > timezone.now()]
    Environment.objects.filter(pk=environment.pk).update(retry_at=min([latest, *due]), failures=0)


def _times(environment: Environment) -> Iterable[datetime | None]:
    node = Node.objects.filter(environments=environment).first()
    if node is not None and servers.needs_exchange(node):
        yield attempts.next_look(node)
    if node is not None and node.state == NodeState.BOOTING:
        yield node.boot_deadline_at
    yield from map(attempts.next_look, volumes.of(environment).filter(state__in=volumes.UNDER_WAY))

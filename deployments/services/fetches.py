"""The fetch: what a node may have, and the mark that it has it."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.utils import timezone

from timeline import events

from ..domain.states import RELEASE_WITH_NODE, OrderStatus, ReleaseStatus
from ..errors import DeploymentError, NotFound
from ..models import Environment, Node, Order, Payload, Release
from . import nodes, payloads, releases

_DUE = frozenset({*RELEASE_WITH_NODE, ReleaseStatus.LIVE})
_MAX_SEQUENCE = 2**53 - 1


def take(*, node: Node, environment_id: UUID, sequence: int) -> Payload:
    """What this node may have of this sequence: an environment placed on it now, a sequence that is pending or current.

    Raises NotFound for everything else, and what `payloads.make` raises. A pending release whose payload can be made no
    more has failed when this raises: its node is not left to ask for ever.
    """
    environment = nodes.placed(node, environment_id)
    if not 0 < sequence <= _MAX_SEQUENCE or not _is_due(environment, sequence):
        raise NotFound("pending or current release", sequence)
    try:
        with transaction.atomic():
            payload = payloads.current(environment=environment, sequence=sequence, node=node)
            _note_fetch(environment, node, sequence)
    except DeploymentError as fault:
        if not fault.retryable:
            _fail_offer(environment, sequence, fault)
        raise
    return payload


def _is_due(environment: Environment, sequence: int) -> bool:
    """Pending, or live; a release that is cancelled before its node has it is neither."""
    if Release.objects.filter(environment=environment, sequence=sequence, status__in=_DUE).exists():
        return True
    return Order.objects.filter(environment=environment, sequence=sequence, status=OrderStatus.OFFERED).exists()


def _note_fetch(environment: Environment, node: Node, sequence: int) -> None:
    """From here on the node has it, so a cancellation must be asked of the node. Raises NotFound if one came first."""
    release = Release.objects.select_for_update(of=("self",)).filter(environment=environment, sequence=sequence).first()
    if release is None or release.fetched_at is not None:
        return
    if release.status not in _DUE:
        raise NotFound("pending or current release", sequence)
    Release.objects.filter(pk=release.pk).update(fetched_at=timezone.now())
    events.record(
        **release.event_place(),
        subject=("release", release.pk),
        kind="release:fetched",
        by={"node": str(node.pk)},
        data={"sequence": sequence},
    )


def _fail_offer(environment: Environment, sequence: int, fault: DeploymentError) -> None:
    with transaction.atomic():
        release = (
            Release.objects.select_for_update(of=("self",))
            .filter(environment=environment, sequence=sequence, status=ReleaseStatus.OFFERED)
            .first()
        )
        if release is not None:
            evidence = {"code": fault.code, "summary": str(fault), "services": {}}
            releases.end(release, to=ReleaseStatus.FAILED, evidence=evidence)

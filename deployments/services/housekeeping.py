"""What time alone changes: nodes that fell silent, and rows that nobody needs any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from timeline.transitions import transition

from ..domain.states import NodeState
from ..models import IdempotentCall, Node, NodeNonce
from . import logs, sweeps

# Three held heartbeats in a row.
SILENT_AFTER_SECONDS = 90
IDEMPOTENCY_KEPT = timedelta(hours=24)
NONCES_KEPT = timedelta(minutes=10)
_SPEAKING = (NodeState.ENROLLED, NodeState.READY, NodeState.WARM, NodeState.DRAINING)


def mark_silent_nodes() -> int:
    """Nodes without a heartbeat are `unreachable`: said, and nothing more. Their apps may run perfectly well."""
    before = timezone.now() - timedelta(seconds=SILENT_AFTER_SECONDS)
    silent = Node.objects.filter(state__in=_SPEAKING, last_seen_at__lt=before).values_list("pk", flat=True)[
        : sweeps.BATCH
    ]
    return sweeps.each("silent nodes", list(silent), lambda pk: _mark_silent(pk, before))


def _mark_silent(node_id: UUID, before: datetime) -> None:
    with transaction.atomic():
        node = (
            Node.objects.select_for_update(of=("self",))
            .filter(pk=node_id, last_seen_at__lt=before, state__in=_SPEAKING)
            .first()
        )
        if node is not None:
            transition(node, to=NodeState.UNREACHABLE, severity="warning")


def forget_expired() -> int:
    """Remove idempotent answers after a day, nonces after their window, log answers nobody read; how many went."""
    now = timezone.now()
    answers, _ = IdempotentCall.objects.filter(created_at__lt=now - IDEMPOTENCY_KEPT).delete()
    nonces, _ = NodeNonce.objects.filter(at__lt=now - NONCES_KEPT).delete()
    return answers + nonces + logs.forget_old()

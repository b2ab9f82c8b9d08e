"""Stop and retire, carried out: the order to the node, the volumes detached, the node given back."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from timeline.transitions import transition

from .. import nudges, wakeups
from ..domain.states import RELEASE_WITH_NODE, EnvironmentState, NodeState, OrderStatus, ReleaseStatus
from ..models import Environment, Order
from . import payloads, placements, releases, servers, volumes

_ENDS = {EnvironmentState.STOPPING: EnvironmentState.STOPPED, EnvironmentState.RETIRING: EnvironmentState.RETIRED}


def advance(environment: Environment) -> None:
    """One step of a stop or retire; the next one comes with the node's receipt, a poll's time, or the sweep."""
    order = environment.orders.order_by("-sequence").first()
    if order is None or order.status == OrderStatus.FAILED:
        return
    if order.status == OrderStatus.ACCEPTED:
        _offer(environment, order)
    if order.status == OrderStatus.OFFERED:
        _settle_without_node(environment, order)
    if order.status == OrderStatus.DONE and volumes.detach_all(environment) and placements.release_node(environment):
        _end(environment)


def _offer(environment: Environment, order: Order) -> None:
    """Hand the order to the node once nothing else is with it. A node that never enrolled runs nothing to take down."""
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        if row.releases.filter(status__in=RELEASE_WITH_NODE).exists():
            return
        if row.node is None or not placements.is_enrolled(row.node):
            settle(order, OrderStatus.DONE)
            return
        stopped = row.releases.filter(sequence=order.stopped_sequence).first()
        payloads.make(
            environment=row, node=row.node, sequence=order.sequence, action=order.action, release=None, stopped=stopped
        )
        transition(order, to=OrderStatus.OFFERED, offered_at=timezone.now(), data={"sequence": order.sequence})
        placements.drain(row.node)
        wakeups.notify(f"node:{row.node.pk}")


def _settle_without_node(environment: Environment, order: Order) -> None:
    """A node that is lost while it has the order will not answer, and runs nothing any more."""
    if environment.node is None or environment.node.state != NodeState.LOST:
        return
    with transaction.atomic():
        evidence: dict[str, object] = {"code": servers.LOST, "summary": "The node was gone before it could answer."}
        settle(order, OrderStatus.DONE, evidence=evidence)


def _end(environment: Environment) -> None:
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        if row.state in _ENDS:
            transition(row, to=_ENDS[EnvironmentState(row.state)])


def settle(order: Order, to: OrderStatus, *, evidence: dict[str, object] | None = None) -> bool:
    """End an order in the caller's transaction. Done: what was live is live no more."""
    moved = transition(
        order,
        to=to,
        settled_at=timezone.now(),
        evidence=evidence,
        severity="error" if to == OrderStatus.FAILED else "info",
    )
    if moved and to == OrderStatus.DONE:
        for release in order.environment.releases.filter(status=ReleaseStatus.LIVE).select_related("environment"):
            releases.end(
                release, to=ReleaseStatus.SUPERSEDED, data={"because": f"{order.action} order {order.sequence}"}
            )
        nudges.advance(order.environment_id)
    return moved


def overdue(*, limit: int) -> list[UUID]:
    """Orders that their node has not answered by the deadline."""
    latest = timezone.now() - timedelta(seconds=settings.APPLY_DEADLINE_SECONDS + settings.APPLY_GRACE_SECONDS)
    return list(
        Order.objects.filter(status=OrderStatus.OFFERED, offered_at__lt=latest).values_list("pk", flat=True)[:limit]
    )


def give_up_on(order_id: UUID) -> None:
    """The node is silent: the order has failed until its receipt says otherwise; an operator can order it again."""
    with transaction.atomic():
        order = Order.objects.select_for_update(of=("self",)).select_related("environment").get(pk=order_id)
        if order.status == OrderStatus.OFFERED:
            summary = "The node has not answered by the deadline. Look at the node, then order the same again."
            settle(order, OrderStatus.FAILED, evidence={"code": "node.silent", "summary": summary})

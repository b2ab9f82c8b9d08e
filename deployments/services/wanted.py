"""What is wanted of a node, read from the rows: the content of a heartbeat's reply, and whether any of it is news."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone

from nodeagent.wire import base64text, envelope
from nodeagent.wire.decode import encode
from nodeagent.wire.envelope import PAYLOAD_HEARTBEAT
from nodeagent.wire.heartbeat import Desired, EnvironmentOrder, EnvironmentReport, Heartbeat, LogRequest, Reply

from .. import signing
from ..domain.states import RELEASE_WITH_NODE, EnvironmentState, OrderStatus
from ..models import Environment, LogQuery, Node, Order, Release

MAX_LOG_REQUESTS = 100
_DESIRED: Mapping[str, Desired] = {
    EnvironmentState.ACTIVE: "run",
    EnvironmentState.STARTING: "run",
    EnvironmentState.STOPPING: "stop",
    EnvironmentState.STOPPED: "stop",
    EnvironmentState.RETIRING: "retire",
    EnvironmentState.RETIRED: "retire",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the rows say at one moment."""

    environments: tuple[EnvironmentOrder, ...]
    keyset_version: int
    log_requests: tuple[LogRequest, ...]


@dataclass(frozen=True, slots=True)
class _Pending:
    sequence: int = 0
    digest: str = ""
    cancel_sequence: int = 0


def of_node(node: Node) -> Wanted:
    """In four queries, however many environments the node serves."""
    environments = list(Environment.objects.filter(node=node).exclude(generation=0).order_by("pk"))
    pending = _pending(environments)
    return Wanted(
        environments=tuple(_order(each, pending.get(str(each.pk), _Pending())) for each in environments),
        keyset_version=signing.newest_version(),
        log_requests=_log_requests(node),
    )


def reply(wanted: Wanted, *, nonce: str) -> bytes:
    """The signed envelope that answers the heartbeat with this nonce. Raises signing.KeysMissing, vault.SealBroken."""
    key = signing.release_key()
    message = Reply(
        nonce=nonce,
        server_time=int(timezone.now().timestamp()),
        environments=wanted.environments,
        keyset_version=wanted.keyset_version,
        deploy_public_key=base64text.to_text(bytes(key.verify_key)),
        # The next one is held open here, so that the node need not wait for anything over there.
        next_heartbeat_s=0,
        apply_deadline_s=settings.APPLY_DEADLINE_SECONDS,
        log_requests=wanted.log_requests,
    )
    return envelope.sign(PAYLOAD_HEARTBEAT, encode(message), key)


def news(wanted: Wanted, heartbeat: Heartbeat) -> frozenset[str]:
    """What the node has to do and, by its own report, does not know of yet; empty: hold the heartbeat.

    A name for each piece of news, so that a node that cannot act on one is not told the same without end.
    """
    reports = {report.environment_id: report for report in heartbeat.environments}
    told = {f"keyset:{wanted.keyset_version}"} if wanted.keyset_version > heartbeat.keyset_version else set()
    told |= {f"log:{request.id}" for request in wanted.log_requests}
    for order in wanted.environments:
        told |= _news_of(order, reports.get(order.environment_id))
    return frozenset(told)


def _news_of(order: EnvironmentOrder, report: EnvironmentReport | None) -> set[str]:
    found = set()
    if order.pending_release_seq > (report.max_seen_seq if report else 0):
        found.add(f"release:{order.environment_id}:{order.generation}:{order.pending_release_seq}")
    if order.cancel_seq and not _is_ending(report, order.cancel_seq):
        found.add(f"cancel:{order.environment_id}:{order.cancel_seq}")
    return found


def _is_ending(report: EnvironmentReport | None, sequence: int) -> bool:
    """Whether the node is reverting this sequence already, or has an outcome of it."""
    apply = report.apply if report else None
    return apply is not None and apply.seq == sequence and apply.state != "running"


def _pending(environments: Iterable[Environment]) -> dict[str, _Pending]:
    """By environment; of an order and a release at once, the one with the higher sequence."""
    found: dict[str, _Pending] = {}
    fields = ("environment_id", "sequence", "manifest_digest", "cancel_requested_at")
    releases = Release.objects.filter(environment__in=environments, status__in=RELEASE_WITH_NODE)
    for environment_id, sequence, digest, cancelled_at in releases.values_list(*fields):
        found[str(environment_id)] = _Pending(sequence, digest, sequence if cancelled_at else 0)
    for order in Order.objects.filter(environment__in=environments, status=OrderStatus.OFFERED):
        held = found.get(str(order.environment_id), _Pending())
        if order.sequence > held.sequence:
            found[str(order.environment_id)] = _Pending(order.sequence, _digest_of(order), held.cancel_sequence)
    return found


def _digest_of(order: Order) -> str:
    """That of the payload as it was signed."""
    payloads = order.environment.payloads.filter(sequence=order.sequence).order_by("-issued_at")
    return payloads.values_list("release_digest", flat=True).first() or ""


def _order(environment: Environment, pending: _Pending) -> EnvironmentOrder:
    return EnvironmentOrder(
        environment_id=str(environment.pk),
        generation=environment.generation,
        desired=_DESIRED[environment.state],
        pending_release_seq=pending.sequence,
        pending_digest=pending.digest,
        cancel_seq=pending.cancel_sequence,
    )


def _log_requests(node: Node) -> tuple[LogRequest, ...]:
    asked = LogQuery.objects.filter(node=node, environment__node=node, answer__isnull=True).order_by("asked_at")
    return tuple(
        LogRequest(
            id=str(query.pk),
            environment_id=str(query.environment_id),
            service=query.service or None,
            since=query.since or None,
            limit=query.limit,
            cursor=query.cursor or None,
        )
        for query in asked[:MAX_LOG_REQUESTS]
    )

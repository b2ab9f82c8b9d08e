"""A node's reports on one sequence: events of its apply, and in the end the signed receipt that alone settles it.

Everything here is idempotent. Events are known by their id, receipts by their bytes; the environment's row lock makes
batches of one environment follow each other, and every change of state is conditional on top of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from nodeagent.wire import base64text, envelope
from nodeagent.wire.decode import decode
from nodeagent.wire.digests import sha256_digest
from nodeagent.wire.envelope import PAYLOAD_RECEIPT, keyid
from nodeagent.wire.errors import WireError
from nodeagent.wire.events import Event, EventBatch
from nodeagent.wire.receipt import Receipt as Word
from nodeagent.wire.redaction import Redactor
from timeline import events
from timeline.models import Event as TimelineEvent
from timeline.transitions import transition

from .. import nudges, wakeups
from ..domain.states import RELEASE_WITH_NODE, OrderStatus, ReleaseStatus
from ..errors import DeploymentError, NotFound
from ..models import Environment, Node, Order, Payload, Receipt, Release
from ..selectors import manifests
from . import release_log, shutdowns, storable, values, verdicts

# A node that never stops talking is cut off here; its receipt is taken all the same.
MAX_EVENTS_OF_A_SEQUENCE = 5000
_MAX_SEQUENCE = 2**53 - 1
_OUTCOMES_OF: Mapping[str, frozenset[str]] = {
    "apply": frozenset({"live", "failed", "cancelled"}),
    "stop": frozenset({"stopped", "failed"}),
    "retire": frozenset({"retired", "failed"}),
}
_ALARM = "alarm"

Subject = Release | Order


class ReceiptRefused(DeploymentError):
    """A receipt that does not belong to the sequence it came for. The batch it came with is refused as a whole."""

    code: ClassVar[str] = "receipt.foreign"
    status: ClassVar[int] = 422

    def __init__(self, why: str):
        self.why = why

    def __str__(self) -> str:
        return (
            f"The receipt is not taken: {self.why}. Each sequence is reported under its own address, as it was signed."
        )


@dataclass(frozen=True, slots=True)
class _Report:
    """Who speaks, of what; `hidden` takes every secret of the environment out of what is kept of it."""

    node: Node
    environment: Environment
    subject: Subject
    hidden: Redactor

    @property
    def by(self) -> dict[str, str]:
        return {"node": str(self.node.pk)}

    @property
    def action(self) -> str:
        return self.subject.action if isinstance(self.subject, Order) else "apply"


def take(*, node: Node, environment_id: UUID, sequence: int, batch: EventBatch) -> None:
    """Take a batch: its events into the timeline, its receipt into table and log, and what the receipt settles.

    A sequence is this node's business if a payload of it was made for this node: also after the environment has moved
    on, since only the node can tell how an outcome that is unknown turned out. Raises NotFound, ReceiptRefused,
    WireError for a receipt that does not verify or a time that is none.
    """
    with transaction.atomic():
        report = _report(node, environment_id, sequence)
        word = None if batch.receipt is None else _opened(report, batch.receipt)
        _take_events(report, batch.events)
        if word is not None and batch.receipt is not None:
            _take_receipt(report, word, base64text.to_bytes(batch.receipt))


def _report(node: Node, environment_id: UUID, sequence: int) -> _Report:
    if not 0 < sequence <= _MAX_SEQUENCE:
        raise NotFound("release", sequence)
    environment = (
        Environment.objects.select_for_update(of=("self",)).select_related("project").filter(pk=environment_id).first()
    )
    if not Payload.objects.filter(environment_id=environment_id, node=node, sequence=sequence).exists():
        raise NotFound("release", sequence)
    if environment is None:
        raise NotFound("release", sequence)
    return _Report(node, environment, _subject(environment, sequence), Redactor(values.secret_texts(environment)))


def _subject(environment: Environment, sequence: int) -> Subject:
    """Locked as well: the deadline sweep takes releases without their environment."""
    for rows in (
        Release.objects.filter(environment=environment, sequence=sequence),
        Order.objects.filter(environment=environment, sequence=sequence),
    ):
        found = rows.select_for_update(of=("self",)).select_related("environment__project").first()
        if found is not None:
            return found
    raise NotFound("release", sequence)


# Events


def _take_events(report: _Report, batch: Sequence[Event]) -> None:
    known = _known_ids(report.subject, batch)
    room = MAX_EVENTS_OF_A_SEQUENCE - _count(report.subject)
    fresh = [each for each in batch if each.id not in known][: max(room, 0)]
    for event in {each.id: each for each in fresh}.values():
        _record(report, event)
    moments = [_moment(each) for each in batch if each.kind != _ALARM]
    if moments and isinstance(report.subject, Release):
        _show_progress(report, report.subject, max(moments))


def _known_ids(subject: Subject, batch: Sequence[Event]) -> set[str]:
    ids = [each.id for each in batch]
    kept = events.of_subject(subject.NOUN, subject.pk).filter(data__event_id__in=ids)
    return set(kept.values_list("data__event_id", flat=True))


def _count(subject: Subject) -> int:
    return events.of_subject(subject.NOUN, subject.pk).filter(data__has_key="event_id").count()


def _record(report: _Report, event: Event) -> TimelineEvent:
    what = _ALARM if event.kind == _ALARM else event.kind.partition(":")[2]
    return events.record(
        **report.subject.event_place(),
        subject=(report.subject.NOUN, report.subject.pk),
        kind=f"{report.subject.NOUN}:{what}",
        severity=_ALARM if event.kind == _ALARM else event.severity,
        by=report.by,
        data={
            "event_id": event.id,
            "sequence": event.seq,
            "at": event.at,
            "step": storable.text(event.step),
            "state": event.state,
            "detail": storable.text(report.hidden(event.detail)),
        },
    )


def _moment(event: Event) -> datetime:
    """The node's time, never later than ours. Raises WireError for a date that no calendar has."""
    try:
        at = datetime.fromisoformat(event.at).astimezone(UTC)
    except ValueError as fault:
        raise WireError("wire.value", "The time of an event is no date", "/events") from fault
    return min(at, timezone.now())


def _show_progress(report: _Report, release: Release, at: datetime) -> None:
    """The first word of an apply makes it `applying`; every word moves the moment that its deadline counts from."""
    told = {"sequence": release.sequence}
    if release.status == ReleaseStatus.OFFERED and transition(
        release, to=ReleaseStatus.APPLYING, by=report.by, data=told
    ):
        wakeups.notify(f"release:{release.pk}")
    Release.objects.filter(pk=release.pk, status__in=RELEASE_WITH_NODE, progressed_at__lt=at).update(progressed_at=at)


# Receipts


def _opened(report: _Report, text: str) -> Word:
    """The receipt's words, if the node signed them, of this sequence. Raises WireError, ReceiptRefused."""
    public = bytes(report.node.ed25519_public or b"")
    raw = base64text.to_bytes(text, where="/receipt")
    word = decode(Word, envelope.open_envelope(raw, payload_type=PAYLOAD_RECEIPT, keys={keyid(public): public}))
    if (word.node_id, word.environment_id) != (str(report.node.pk), str(report.environment.pk)):
        raise ReceiptRefused("it names another node or environment")
    if word.seq != report.subject.sequence:
        raise ReceiptRefused(f"it is for sequence {word.seq}, and came as one for {report.subject.sequence}")
    if not _was_made(report, word):
        raise ReceiptRefused(f"no payload of this sequence had generation {word.generation} and its release digest")
    if word.outcome not in _OUTCOMES_OF[report.action]:
        raise ReceiptRefused(f"{word.outcome} is no outcome of {report.action}")
    return word


def _was_made(report: _Report, word: Word) -> bool:
    return Payload.objects.filter(
        environment=report.environment,
        node=report.node,
        sequence=word.seq,
        generation=word.generation,
        release_digest=word.release_digest,
    ).exists()


def _take_receipt(report: _Report, word: Word, raw: bytes) -> None:
    row, is_new = Receipt.objects.get_or_create(
        environment=report.environment,
        digest=sha256_digest(raw),
        defaults={"node": report.node, "sequence": word.seq, "outcome": word.outcome, "envelope": raw},
    )
    if not is_new:
        return
    status = (
        _settle_order(report, report.subject, word)
        if isinstance(report.subject, Order)
        else _settle(report, report.subject, word)
    )
    nudges.advance(report.environment.pk)
    release_log.append(
        project_id=report.environment.project_id,
        body={
            "what": release_log.RECEIPT,
            "environment_id": str(report.environment.pk),
            "sequence": word.seq,
            "manifest_digest": word.release_digest,
            "by": report.by,
            "outcome": word.outcome,
            "status": status,
            "digest": row.digest,
            "envelope": raw.decode(),
        },
    )


def _settle(report: _Report, release: Release, word: Word) -> str:
    """Move the release to where the receipt says, and answer its status. Too late to move it: said, no more."""
    problem = None
    if word.outcome == verdicts.LIVE:
        before = {name for name, sequence in release.changed_in.items() if sequence != release.sequence}
        problem = verdicts.contradiction(word, manifests.of(release), unchanged=before)
    to = ReleaseStatus.FAILED if problem else ReleaseStatus(word.outcome)
    if to == ReleaseStatus.LIVE and not _still_serves(report, word):
        # True when it was signed; the environment is on another node, or has a later release, by now.
        to = ReleaseStatus.SUPERSEDED
    elsewhere = release.status in RELEASE_WITH_NODE and word.generation != report.environment.generation
    if elsewhere or to not in release.EDGES.get(ReleaseStatus(release.status), {}):
        # Settled before, or with another node by now, whose word it is then.
        _record_late(report, word)
        return release.status
    if to == ReleaseStatus.LIVE:
        _supersede(report, release)
    now = timezone.now()
    proof = verdicts.evidence(word, hidden=report.hidden, problem=problem)
    served = word.outcome == verdicts.LIVE and problem is None
    more: dict[str, Any] = (
        {"was_live": True, "live_at": now, "routes": storable.plain(word.routes_served)} if served else {}
    )
    transition(
        release,
        to=to,
        by=report.by,
        severity="error" if to == ReleaseStatus.FAILED else "info",
        data={
            "sequence": release.sequence,
            "code": proof["code"],
            "summary": proof["summary"],
            "serving": word.serving_seq,
        },
        evidence=proof,
        serving_after=word.serving_seq,
        timings_ms=storable.plain(word.timings_ms),
        settled_at=now,
        waiting=None,
        **more,
    )
    wakeups.notify(f"release:{release.pk}")
    return release.status


def _still_serves(report: _Report, word: Word) -> bool:
    later = Release.objects.filter(environment=report.environment, sequence__gt=word.seq, was_live=True)
    # A release that waited through a stop is offered after it, under its lower number.
    offered_at = report.subject.offered_at or timezone.now()
    stopped = Order.objects.filter(
        environment=report.environment, sequence__gt=word.seq, status=OrderStatus.DONE, settled_at__gt=offered_at
    )
    return word.generation == report.environment.generation and not later.exists() and not stopped.exists()


def _supersede(report: _Report, by: Release) -> None:
    """Before the later one becomes live: a constraint holds that there is one."""
    for earlier in (
        Release.objects.select_for_update(of=("self",))
        .select_related("environment")
        .filter(environment=report.environment, status=ReleaseStatus.LIVE)
        .exclude(pk=by.pk)
    ):
        if transition(
            earlier,
            to=ReleaseStatus.SUPERSEDED,
            by=report.by,
            data={"sequence": earlier.sequence, "later": by.sequence},
        ):
            wakeups.notify(f"release:{earlier.pk}")


def _settle_order(report: _Report, order: Order, word: Word) -> str:
    to = OrderStatus.FAILED if word.outcome == "failed" else OrderStatus.DONE
    if to in order.EDGES.get(OrderStatus(order.status), {}):
        shutdowns.settle(order, to, evidence=verdicts.evidence(word, hidden=report.hidden))
    else:
        _record_late(report, word)
    return order.status


def _record_late(report: _Report, word: Word) -> None:
    """What the node says is kept beside what is settled, not written over it."""
    state = getattr(report.subject, report.subject.STATE_FIELD)
    events.record(
        **report.subject.event_place(),
        subject=(report.subject.NOUN, report.subject.pk),
        kind=f"{report.subject.NOUN}:late_receipt",
        severity="warning",
        by=report.by,
        data={"sequence": word.seq, "outcome": word.outcome, "code": storable.text(word.code), "status": str(state)},
    )

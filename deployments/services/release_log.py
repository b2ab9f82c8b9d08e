"""The release log: per project, append-only, each entry covering the one before: history is not rewritten unseen.

An entry's body is canonical JSON: `{v, position, previous, at, what, environment_id, sequence, manifest_digest, by,
...}`. `what` is `release.accepted`, `payload.signed`, `receipt`, or another word of whoever appends. Signed things lie
in it as they were signed, so that the log proves itself without the tables it speaks of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import rfc8785
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from agents.models import Project
from nodeagent.wire import envelope as envelopes
from nodeagent.wire.decode import decode
from nodeagent.wire.digests import sha256_digest
from nodeagent.wire.envelope import PAYLOAD_RECEIPT, PAYLOAD_RELEASE, keyid
from nodeagent.wire.errors import WireError
from nodeagent.wire.receipt import Receipt as Word
from nodeagent.wire.statement import Statement

from .. import signing
from ..domain.states import ReleaseStatus
from ..models import LogEntry, Receipt, Release

VERSION = 1
START = sha256_digest(b"")
ACCEPTED, PAYLOAD_SIGNED, RECEIPT = "release.accepted", "payload.signed", "receipt"


def append(*, project_id: UUID, body: Mapping[str, Any]) -> LogEntry:
    """Add one entry, in the caller's transaction if there is one. Appends to one project queue up behind its row.

    Append last in a transaction: whoever takes other rows afterwards holds the whole project's log meanwhile.
    """
    with transaction.atomic():
        # NO KEY: rows that point to the project can still be inserted meanwhile.
        Project.objects.select_for_update(no_key=True).only("pk").get(pk=project_id)
        last = LogEntry.objects.filter(project_id=project_id).order_by("-position").first()
        position, previous = (last.position + 1, last.entry_hash) if last else (1, START)
        now = timezone.now()
        fixed: dict[str, Any] = {"v": VERSION, "position": position, "previous": previous, "at": now.isoformat()}
        content = rfc8785.dumps({**body, **fixed})
        return LogEntry.objects.create(
            project_id=project_id,
            position=position,
            previous_hash=previous,
            entry_hash=entry_hash(previous, content),
            body=content,
        )


def entry_hash(previous: str, body: bytes) -> str:
    """`sha256:HEX` over the hash before, a line feed, and the body."""
    return "sha256:" + hashlib.sha256(previous.encode() + b"\n" + body).hexdigest()


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """What does not hold, and the entry where it shows (0: no entry, something has none)."""

    position: int
    code: str
    why: str

    def __str__(self) -> str:
        place = f"entry {self.position}" if self.position else "the whole log"
        return f"{place}: {self.why} ({self.code})"


def verify(project: Project) -> BrokenLink | None:
    """The first thing that does not hold, or None.

    Checked: the chain itself; that each accepted release still is the manifest it was; that each payload was signed by
    a release key that a keyset named; that each receipt was signed by the key of the node that its payload was made
    for; and that no release is or was live, and no receipt lies in its table, without an entry that says so.
    Raises signing.KeysMissing where entries are signed by keys that are gone altogether.
    """
    seen = _Seen(project)
    try:
        for body in _chain(project):
            _check(body, seen)
        _compare_with_tables(project, seen)
    except _BrokenError as broken:
        return broken.link
    return None


class _BrokenError(Exception):
    def __init__(self, position: int, code: str, why: str):
        self.link = BrokenLink(position, code, why)


Place = tuple[str, int]
"""Environment id and sequence."""


@dataclass(slots=True)
class _Seen:
    """What the entries so far have established."""

    project: Project
    accepted: dict[Place, str] = field(default_factory=dict)
    digests: dict[Place, str] = field(default_factory=dict)
    node_keys: dict[tuple[str, int, str], bytes] = field(default_factory=dict)
    receipts: set[str] = field(default_factory=set)
    live: set[Place] = field(default_factory=set)
    release_keys: dict[str, bytes] | None = None


def _chain(project: Project) -> Iterator[dict[str, Any]]:
    previous = START
    for number, entry in enumerate(LogEntry.objects.filter(project=project).order_by("position").iterator(), start=1):
        body = _read(entry)
        if entry.position != number or body["position"] != number:
            raise _BrokenError(
                number, "log.position", "the positions do not count up by one; an entry is missing or added"
            )
        if entry.previous_hash != previous or body["previous"] != previous:
            raise _BrokenError(number, "log.previous", "it does not follow from the entry before it")
        if entry.entry_hash != entry_hash(previous, bytes(entry.body)):
            raise _BrokenError(number, "log.hash", "its hash is not that of its content")
        previous = entry.entry_hash
        yield body


def _read(entry: LogEntry) -> dict[str, Any]:
    try:
        body = json.loads(bytes(entry.body))
        if {"position", "previous", "what"} <= body.keys() and isinstance(body["what"], str):
            return dict(body)
    except (ValueError, AttributeError) as fault:
        raise _BrokenError(entry.position, "log.body", "its content is not the JSON of an entry") from fault
    raise _BrokenError(entry.position, "log.body", "its content is not that of an entry")


def _check(body: Mapping[str, Any], seen: _Seen) -> None:
    """Kinds of entries that are not named here are vouched for by the chain alone."""
    check = _CHECKS.get(body["what"])
    try:
        if check is not None:
            check(body, seen)
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as fault:
        raise _BrokenError(body["position"], "log.body", "its content is not that of an entry of its kind") from fault


def _check_accepted(body: Mapping[str, Any], seen: _Seen) -> None:
    release = Release.objects.filter(
        environment_id=body["environment_id"], environment__project=seen.project, sequence=body["sequence"]
    ).first()
    if release is None:
        raise _BrokenError(body["position"], "log.release_missing", f"release {body['sequence']} is gone")
    digest = body["manifest_digest"]
    if release.manifest_digest != digest or sha256_digest(bytes(release.manifest)) != digest:
        raise _BrokenError(
            body["position"], "log.manifest", f"release {body['sequence']} is not the manifest accepted then"
        )
    seen.accepted[_place(body)] = digest


def _check_payload(body: Mapping[str, Any], seen: _Seen) -> None:
    if seen.release_keys is None:
        seen.release_keys = signing.history()
    raw = body["envelope"].encode()
    try:
        statement = decode(
            Statement, envelopes.open_envelope(raw, payload_type=PAYLOAD_RELEASE, keys=seen.release_keys)
        )
    except WireError as fault:
        raise _BrokenError(
            body["position"], "log.payload_signature", f"the payload's envelope does not verify: {fault}"
        ) from fault
    named = (statement.environment_id, statement.seq, statement.release_digest)
    if named != (*_place(body), body["manifest_digest"]):
        raise _BrokenError(
            body["position"], "log.payload", "the signed statement speaks of something else than the entry"
        )
    if statement.action == "apply" and seen.accepted.get(_place(body)) != statement.release_digest:
        raise _BrokenError(
            body["position"], "log.payload", f"release {statement.seq} was never accepted with this digest"
        )
    seen.digests[_place(body)] = statement.release_digest
    seen.node_keys[(*_place(body), statement.node_id)] = bytes.fromhex(body["node_key"])


def _check_receipt(body: Mapping[str, Any], seen: _Seen) -> None:
    key = seen.node_keys.get((*_place(body), body["by"]["node"]))
    if key is None:
        raise _BrokenError(
            body["position"], "log.receipt", "it is from a node that no payload of this sequence was made for"
        )
    raw = body["envelope"].encode()
    try:
        word = decode(Word, envelopes.open_envelope(raw, payload_type=PAYLOAD_RECEIPT, keys={keyid(key): key}))
    except WireError as fault:
        raise _BrokenError(
            body["position"], "log.receipt_signature", f"the receipt does not verify: {fault}"
        ) from fault
    named = (word.environment_id, word.seq, word.node_id, word.release_digest, word.outcome)
    if named != (*_place(body), body["by"]["node"], body["manifest_digest"], body["outcome"]):
        raise _BrokenError(body["position"], "log.receipt", "the node's signed words are others than the entry's")
    if seen.digests[_place(body)] != word.release_digest:
        raise _BrokenError(body["position"], "log.receipt", "it is for another manifest than the one that was signed")
    seen.receipts.add(sha256_digest(raw))
    if word.outcome == "live" and body["status"] in (ReleaseStatus.LIVE, ReleaseStatus.SUPERSEDED):
        seen.live.add(_place(body))


_CHECKS = {ACCEPTED: _check_accepted, PAYLOAD_SIGNED: _check_payload, RECEIPT: _check_receipt}


def _place(body: Mapping[str, Any]) -> Place:
    return body["environment_id"], body["sequence"]


def _compare_with_tables(project: Project, seen: _Seen) -> None:
    """Also finds a log whose end was cut off: the tables then tell of more than the log does."""
    for release in (
        Release.objects.filter(environment__project=project).order_by("environment_id", "sequence").iterator()
    ):
        place = (str(release.environment_id), release.sequence)
        if place not in seen.accepted:
            raise _BrokenError(
                0, "log.release_unlogged", f"release {release.sequence} has no entry that it was accepted"
            )
        if release.was_live and place not in seen.live:
            raise _BrokenError(
                0, "log.live_unproven", f"release {release.sequence} was live, and no receipt in the log says so"
            )
    for receipt in Receipt.objects.filter(environment__project=project).order_by("pk").iterator():
        raw = bytes(receipt.envelope)
        if sha256_digest(raw) != receipt.digest or receipt.digest not in seen.receipts:
            raise _BrokenError(
                0, "log.receipt_unlogged", f"a receipt for {receipt.sequence} is not in the log as it is stored"
            )

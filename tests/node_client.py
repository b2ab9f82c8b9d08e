"""A node for tests of the control plane: real keys and real signatures, and no Docker behind them."""

from __future__ import annotations

import dataclasses
import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import nacl.public
import nacl.signing
from django.test import Client

from nodeagent.wire import base64text, enrol, envelope, fetch, requests
from nodeagent.wire.decode import decode, encode
from nodeagent.wire.envelope import PAYLOAD_HEARTBEAT, PAYLOAD_RECEIPT, PAYLOAD_RELEASE
from nodeagent.wire.events import Event, EventBatch
from nodeagent.wire.heartbeat import (
    Dimension,
    Disk,
    EnvironmentReport,
    Heartbeat,
    Observed,
    Reply,
    RouteObserved,
)
from nodeagent.wire.keyset import Keyset
from nodeagent.wire.receipt import Receipt, ServiceEvidence
from nodeagent.wire.statement import Statement

Answer = Any
"""What Django's test client answers: a response with `content`, `status_code` and headers."""
PREFIX = "/api/node/v1"
JSON = "application/json"
FINE = Dimension("ok", "", "")
OBSERVED = Observed(app=FINE, node=FINE, routes=FINE, disk=FINE, drift=FINE, services={}, routes_served=())


@dataclass
class SimulatedNode:
    """Whoever holds these keys. `node_id` and `generation` are known after it has enrolled."""

    key: nacl.signing.SigningKey = field(default_factory=nacl.signing.SigningKey.generate)
    box: nacl.public.PrivateKey = field(default_factory=nacl.public.PrivateKey.generate)
    node_id: str = ""
    generation: int = 1
    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    counter: int = 0
    client: Client = field(default_factory=lambda: Client(raise_request_exception=False))

    def enrol(self, token: str, **changes: Any) -> Answer:
        request = enrol.EnrolRequest(
            token=token,
            ed25519_public=base64text.to_text(bytes(self.key.verify_key)),
            x25519_public=base64text.to_text(bytes(self.box.public_key)),
            boot_id=self.boot_id,
            agent_version="1.0",
            proof=enrol.prove(self.key, token, bytes(self.box.public_key)),
        )
        body = encode(dataclasses.replace(request, **changes))
        answer = self.client.post(f"{PREFIX}/enrol", body, content_type=JSON)
        if answer.status_code == 200:
            found = decode(enrol.EnrolAnswer, answer.content)
            self.node_id, self.generation = found.node_id, found.node_generation
        return answer

    def headers(
        self, method: str, path: str, body: bytes, *, now: int | None = None, nonce: str = "", generation: int = 0
    ) -> dict[str, str]:
        return requests.sign_request(
            self.key,
            self.node_id,
            generation or self.generation,
            method,
            PREFIX + path,
            body,
            int(time.time()) if now is None else now,
            nonce or secrets.token_urlsafe(24),
        )

    def send(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        signed = self.headers(method, path, body) if headers is None else headers
        return self.client.generic(method, PREFIX + path, body, JSON, headers=signed)

    def heartbeat_of(self, *reports: EnvironmentReport, **changes: Any) -> Heartbeat:
        self.counter += 1
        beat = Heartbeat(
            nonce=secrets.token_urlsafe(18),
            counter=self.counter,
            boot_id=self.boot_id,
            agent_version="1.0",
            node_generation=self.generation,
            keyset_version=1,
            environments=tuple(reports),
            disk=Disk(free_bytes=10**9, total_bytes=2 * 10**9),
        )
        return dataclasses.replace(beat, **changes)

    def beat(self, *reports: EnvironmentReport, wait: int = 0, **changes: Any) -> Answer:
        return self.send("POST", f"/heartbeat?wait={wait}", encode(self.heartbeat_of(*reports, **changes)))

    def fetch(self, environment_id: object, sequence: int) -> Answer:
        return self.send("GET", f"/environments/{environment_id}/releases/{sequence}")

    def report(self, environment_id: object, sequence: int, *events: Event, receipt: bytes | None = None) -> Answer:
        batch = EventBatch(tuple(events), None if receipt is None else base64text.to_text(receipt))
        return self.send("POST", f"/environments/{environment_id}/releases/{sequence}/events", encode(batch))

    def signed(self, receipt: Receipt) -> bytes:
        return envelope.sign(PAYLOAD_RECEIPT, encode(receipt), self.key)


def payload_of(answer: Answer) -> fetch.Payload:
    return fetch.unpack(decode(fetch.Fetched, answer.content))


def statement_of(payload: fetch.Payload, keyset: Keyset) -> Statement:
    content = envelope.open_envelope(payload.envelope, payload_type=PAYLOAD_RELEASE, keys=keyset.release_keys())
    return decode(Statement, content)


def reply_of(answer: Answer, keyset: Keyset) -> Reply:
    assert answer.status_code == 200, answer.content
    return reply_from(answer.content, keyset)


def reply_from(raw: bytes, keyset: Keyset) -> Reply:
    content = envelope.open_envelope(raw, payload_type=PAYLOAD_HEARTBEAT, keys=keyset.release_keys())
    return decode(Reply, content)


def code_of(answer: Answer) -> str:
    assert answer["Content-Type"] == "application/problem+json", answer.content
    return str(json.loads(answer.content)["code"])


def environment_report(environment_id: object, **changes: Any) -> EnvironmentReport:
    report = EnvironmentReport(
        environment_id=str(environment_id),
        max_seen_seq=0,
        current_seq=0,
        current_digest="",
        apply=None,
        observed=OBSERVED,
    )
    return dataclasses.replace(report, **changes)


def event(sequence: int, kind: str = "apply:step", step: str = "pull", **changes: Any) -> Event:
    made = Event(
        id=str(uuid.uuid4()),
        seq=sequence,
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        kind=kind,  # type: ignore[arg-type]
        step=step,
        state="begin",
        detail="",
        severity="info",
    )
    return dataclasses.replace(made, **changes)


def healthy(digest: str, **changes: Any) -> ServiceEvidence:
    fine = ServiceEvidence(
        state="running",
        health="healthy",
        meaning="healthy",
        exit_code=None,
        restarts=0,
        expected_digest=digest,
        observed_digest=digest,
        log_tail="",
    )
    return dataclasses.replace(fine, **changes)


def receipt_for(statement: Statement, services: Mapping[str, ServiceEvidence], **changes: Any) -> Receipt:
    now = int(time.time())
    made = Receipt(
        v=1,
        node_id=statement.node_id,
        environment_id=statement.environment_id,
        generation=statement.generation,
        seq=statement.seq,
        release_digest=statement.release_digest,
        outcome="live",
        code="",
        summary="Everything is well.",
        serving_seq=statement.seq,
        services=services,
        routes_served=(RouteObserved("web", 8080, "public", None, "/", "http://127.0.0.1:20000/"),),
        started_at=now - 3,
        finished_at=now,
        timings_ms={"pull": 120, "health": 900},
    )
    return dataclasses.replace(made, **changes)

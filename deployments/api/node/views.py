"""The node API: each view parses, lets the signature say who speaks, and calls one service."""

from __future__ import annotations

import dataclasses
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from nodeagent.wire import fetch as fetching
from nodeagent.wire.decode import encode
from nodeagent.wire.enrol import MAX_ENROL_BYTES, EnrolRequest
from nodeagent.wire.events import MAX_BATCH_BYTES, EventBatch
from nodeagent.wire.heartbeat import MAX_HEARTBEAT_BYTES, Heartbeat
from nodeagent.wire.logs import MAX_ANSWER_BYTES, LogAnswer

from ... import signing
from ...models import Node
from ...services import fetches, heartbeats, nodes, receipts, storable, wanted
from ...services import logs as log_queries
from ..agent.parameters import Parameters
from . import calls, holding


@calls.answered("POST")
def enrol(request: HttpRequest) -> HttpResponse:
    """Not signed by a node, since there is none yet: the request carries its own proof."""
    body = calls.body_of(request, MAX_ENROL_BYTES)
    answer = nodes.enrol(calls.decoded(EnrolRequest, body, max_bytes=MAX_ENROL_BYTES))
    return calls.json_answer(encode(answer))


async def heartbeat(request: HttpRequest) -> HttpResponseBase:
    """`?wait=N`: held open up to N seconds, 55 at most, and answered the moment there is something new to do."""
    try:
        calls.require(request, "POST")
        wait_seconds = _wait_seconds(request)
        node, message = await holding.in_thread(_take_heartbeat, request)
        found = await holding.hold(node, message, wait_seconds=wait_seconds)
        return calls.json_answer(await holding.in_thread(wanted.reply, found, nonce=message.nonce))
    except Exception as fault:  # noqa: BLE001 - the edge: each error is mapped once, here
        return calls.refused(fault)


def _take_heartbeat(request: HttpRequest) -> tuple[Node, Heartbeat]:
    node, body = calls.proven(request, max_bytes=MAX_HEARTBEAT_BYTES)
    message = calls.decoded(Heartbeat, body, max_bytes=MAX_HEARTBEAT_BYTES)
    heartbeats.take(node=node, heartbeat=message)
    return node, message


def _wait_seconds(request: HttpRequest) -> int:
    parameters = Parameters(request.GET)
    seconds = parameters.whole("wait", default=0, least=0, most=holding.MAX_WAIT_SECONDS)
    parameters.check()
    return seconds


@calls.signed("GET")
def fetch(node: Node, body: bytes, *, environment_id: UUID, sequence: int) -> HttpResponse:
    """Byte for byte as it was stored."""
    row = fetches.take(node=node, environment_id=environment_id, sequence=sequence)
    payload = fetching.Payload(
        envelope=bytes(row.envelope),
        compose=bytes(row.compose),
        routes=bytes(row.routes),
        volumes=bytes(row.volumes),
        sealed=bytes(row.sealed),
    )
    return calls.json_answer(encode(fetching.pack(payload)))


@calls.signed("POST", max_bytes=MAX_BATCH_BYTES)
def events(node: Node, body: bytes, *, environment_id: UUID, sequence: int) -> HttpResponse:
    """204: the whole batch is taken, or was before."""
    batch = calls.decoded(EventBatch, body, max_bytes=MAX_BATCH_BYTES)
    receipts.take(node=node, environment_id=environment_id, sequence=sequence, batch=batch)
    return HttpResponse(status=204)


@calls.signed("POST", max_bytes=MAX_ANSWER_BYTES)
def logs(node: Node, body: bytes, *, environment_id: UUID) -> HttpResponse:
    """204, also for an answer that nobody waits for any more."""
    answer = calls.decoded(LogAnswer, body, max_bytes=MAX_ANSWER_BYTES)
    lines = tuple(dataclasses.replace(line, text=storable.text(line.text)) for line in answer.lines)
    nodes.placed(node, environment_id)
    log_queries.take(node, environment_id, dataclasses.replace(answer, lines=lines, error=storable.text(answer.error)))
    return HttpResponse(status=204)


@calls.signed("GET")
def keyset(node: Node, body: bytes, *, version: int) -> HttpResponse:
    """The envelope as it was signed; what makes it trusted is in it."""
    return calls.json_answer(signing.keyset_envelope(version))

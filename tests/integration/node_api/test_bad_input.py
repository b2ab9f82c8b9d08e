"""Whatever a node sends, it gets an answer with a code, and nothing of it is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest
from django.utils import timezone

from deployments.models import Environment, LogQuery, Observation, Receipt, Release
from deployments.services import logs
from nodeagent.wire.decode import encode
from nodeagent.wire.logs import LogAnswer, LogLine
from tests.node_client import OBSERVED, SimulatedNode, code_of, environment_report, event
from timeline.models import Event

HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"[" * 100_000,
    b'{"events":' + b"[" * 5000 + b"]" * 5000 + b"}",
    b'{"events":[],"receipt":null,"receipt":null}',
    b'{"events":[],"receipt":"AAAA"}',
    b'{"events":[],"receipt":"A"}',
    b'{"events":[{}],"receipt":null}',
    b'{"events":1e999,"receipt":NaN}',
    b'{"events":' + b"9" * 5000 + b"}",
    b'{"\\ud800":1}',
    b"\xef\xbb\xbf{}",
    b'{"__class__":{},"constructor":1}',
    b'"' + b"x" * 1_000_000 + b'"',
]


@pytest.mark.parametrize("body", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_bytes_are_refused_at_every_door(
    node: SimulatedNode, environment: Environment, deliver: Callable[[], object], body: bytes
) -> None:
    deliver()
    told = Event.objects.count()
    for path in (
        "/heartbeat?wait=0",
        f"/environments/{environment.pk}/releases/1/events",
        f"/environments/{environment.pk}/logs",
    ):
        answer = node.send("POST", path, body)
        assert 400 <= answer.status_code < 500, (path, answer.content)
        assert code_of(answer).split(".")[0] in {"wire", "envelope"}
    assert (Event.objects.count(), Receipt.objects.count(), Observation.objects.count()) == (told, 0, 0)
    assert Release.objects.get().status == "offered"


def test_numbers_and_texts_at_their_limits_are_stored(
    node: SimulatedNode, environment: Environment, deliver: Callable[[], object]
) -> None:
    deliver()
    most = 2**53 - 1
    report = environment_report(environment.pk, max_seen_seq=most, current_seq=most)
    answer = node.beat(
        replace(report, observed=OBSERVED), counter=most, boot_id="b" * 64, agent_version="v" * 64, keyset_version=1
    )
    assert answer.status_code == 200, answer.content
    assert Observation.objects.get().current_sequence == most
    assert node.report(environment.pk, 1, event(most, detail="\0" * 4096, step="s" * 32)).status_code == 204


def test_a_keyset_version_beyond_what_a_row_can_hold_is_no_fault_of_ours(node: SimulatedNode) -> None:
    answer = node.beat(keyset_version=2**53 - 1)
    assert answer.status_code < 500, answer.content


def test_log_lines_with_nul_reach_whoever_asked(node: SimulatedNode, environment: Environment) -> None:
    environment.refresh_from_db()
    query = logs.ask(environment=environment)
    at = timezone.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = (LogLine(at=at, service="web", stream="stdout", text="a\0b"),)
    body = encode(LogAnswer(request_id=str(query.pk), lines=lines, next=None, error=""))
    assert node.send("POST", f"/environments/{environment.pk}/logs", body).status_code == 204
    assert logs.answer_of(LogQuery.objects.get()) is not None
    unasked = encode(LogAnswer(request_id=str(uuid4()), lines=(), next=None, error=""))
    assert node.send("POST", f"/environments/{environment.pk}/logs", unasked).status_code == 204

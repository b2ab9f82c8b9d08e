"""What is news to a node, and how often it is told."""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

import pytest

from deployments.api.node.holding import Told
from deployments.services import wanted
from deployments.services.wanted import Wanted
from nodeagent.wire.heartbeat import ApplyReport, EnvironmentOrder, LogRequest
from tests.node_client import SimulatedNode, environment_report

ID = "00000000-0000-4000-8000-000000000001"


def _wanted(*, pending: int = 0, cancel: int = 0, keyset: int = 1, logs: tuple[LogRequest, ...] = ()) -> Wanted:
    order = EnvironmentOrder(ID, 1, "run", pending, "", cancel)
    return Wanted(environments=(order,), keyset_version=keyset, log_requests=logs)


def _news(found: Wanted, **report: Any) -> frozenset[str]:
    return wanted.news(found, SimulatedNode().heartbeat_of(environment_report(ID, **report)))


def _apply(sequence: int, state: Any) -> ApplyReport:
    return ApplyReport(sequence, "pull", state, "", 1, 1)


def test_nothing_pending_is_no_news() -> None:
    assert _news(_wanted()) == frozenset()


@pytest.mark.parametrize(("seen", "is_news"), [(0, True), (3, True), (4, False), (9, False)])
def test_a_sequence_is_news_until_the_node_has_seen_it(seen: int, is_news: bool) -> None:
    assert bool(_news(_wanted(pending=4), max_seen_seq=seen)) is is_news


def test_a_pending_sequence_of_an_environment_that_the_node_does_not_know_is_news() -> None:
    assert wanted.news(_wanted(pending=1), SimulatedNode().heartbeat_of())


@pytest.mark.parametrize(
    ("apply", "is_news"),
    [
        (None, True),
        (_apply(4, "running"), True),
        (_apply(3, "failed"), True),
        (_apply(4, "reverting"), False),
        (_apply(4, "cancelled"), False),
        (_apply(4, "live"), False),
    ],
)
def test_a_cancellation_is_news_until_the_node_ends_that_sequence(apply: ApplyReport | None, is_news: bool) -> None:
    assert bool(_news(_wanted(pending=4, cancel=4), max_seen_seq=4, apply=apply)) is is_news


def test_a_newer_keyset_and_a_question_for_logs_are_news() -> None:
    question = LogRequest(str(uuid4()), ID, None, None, 10, None)
    assert len(_news(_wanted(keyset=2, logs=(question,)))) == 2


def test_news_is_told_at_once_and_the_same_again_after_a_second() -> None:
    told, node, news = Told(), uuid4(), frozenset({"a"})
    assert told.seconds_to_hold(node, news, now=10.0) == 0
    told.tell(node, news, now=10.0)
    assert told.seconds_to_hold(node, news, now=10.2) == pytest.approx(0.8)
    assert told.seconds_to_hold(node, news, now=11.5) == 0


def test_anything_that_was_not_told_yet_is_told_at_once() -> None:
    told, node = Told(), uuid4()
    told.tell(node, frozenset({"a"}), now=10.0)
    assert told.seconds_to_hold(node, frozenset({"a", "b"}), now=10.1) == 0
    assert told.seconds_to_hold(uuid4(), frozenset({"a"}), now=10.1) == 0


def test_without_news_there_is_nothing_to_tell() -> None:
    told, node = Told(), uuid4()
    assert told.seconds_to_hold(node, frozenset(), now=10.0) == math.inf
    told.tell(node, frozenset({"a"}), now=10.0)
    told.tell(node, frozenset(), now=10.1)
    assert told.seconds_to_hold(node, frozenset({"a"}), now=10.2) == 0

"""Signed requests: a node is known from its signature, and each request counts once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

import pytest

from agents.models import Project
from deployments.models import Environment, Node, Release
from deployments.services import environments
from nodeagent.wire.decode import encode
from nodeagent.wire.keyset import Keyset
from nodeagent.wire.logs import LogAnswer
from tests.node_client import PREFIX, SimulatedNode, code_of, environment_report, event
from tests.situations import BY, at_once, placed, token_for

BEAT = "/heartbeat?wait=0"


def test_a_request_without_a_signature_is_refused(node: SimulatedNode) -> None:
    answer = node.send("POST", BEAT, b"{}", headers={})
    assert (answer.status_code, code_of(answer)) == (401, "request.headers")


@pytest.mark.parametrize("changed", ["method", "path", "query", "body"])
def test_a_signature_covers_method_path_query_and_body(node: SimulatedNode, changed: str) -> None:
    body = encode(node.heartbeat_of())
    headers = node.headers("GET" if changed == "method" else "POST", BEAT, body)
    path = {"path": "/keyset/1", "query": "/heartbeat?wait=1"}.get(changed, BEAT)
    method = "GET" if changed == "path" else "POST"
    answer = node.send(method, path, body + b" " * (changed == "body"), headers=headers)
    assert (answer.status_code, code_of(answer)) == (401, "request.signature")


@pytest.mark.parametrize("off_by", [-90, 90])
def test_a_clock_that_is_more_than_a_minute_off_is_refused(node: SimulatedNode, off_by: int) -> None:
    body = encode(node.heartbeat_of())
    answer = node.send("POST", BEAT, body, headers=node.headers("POST", BEAT, body, now=int(time.time()) + off_by))
    assert (answer.status_code, code_of(answer)) == (401, "request.time")


def test_a_replayed_request_is_refused(node: SimulatedNode) -> None:
    body = encode(node.heartbeat_of())
    headers = node.headers("POST", BEAT, body)
    assert node.send("POST", BEAT, body, headers=headers).status_code == 200
    answer = node.send("POST", BEAT, body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (401, "request.replayed")


def test_of_one_request_sent_ten_times_at_once_one_counts(node: SimulatedNode) -> None:
    headers = node.headers("GET", "/keyset/1", b"")
    answers = at_once([lambda: node.send("GET", "/keyset/1", headers=headers)] * 10)
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 9


def test_the_same_nonce_of_another_node_is_another_nonce(node: SimulatedNode, project: Project, keyset: Keyset) -> None:
    other = _other(project)
    for each in (node, other):
        headers = each.headers("GET", "/keyset/1", b"", nonce="n" * 24)
        assert each.send("GET", "/keyset/1", headers=headers).status_code == 200


def test_an_unknown_node_and_a_wrong_signature_are_not_told_apart(node: SimulatedNode) -> None:
    stranger = replace(node, node_id=str(uuid4()))
    forger = SimulatedNode(node_id=node.node_id)
    answers = [stranger.beat(), forger.beat()]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert answers[0].content == answers[1].content
    assert code_of(replace(node, node_id="not-a-uuid").beat()) == "request.signature"


def test_another_generation_than_that_of_the_enrolment_is_refused(node: SimulatedNode) -> None:
    answer = replace(node, generation=2).beat()
    assert (answer.status_code, code_of(answer)) == (401, "node.generation")


@pytest.mark.parametrize("state", ["deleting", "deleted", "failed"])
def test_nothing_is_taken_from_a_node_that_is_gone(node: SimulatedNode, node_row: Node, state: str) -> None:
    Node.objects.filter(pk=node_row.pk).update(state=state)
    answer = node.beat()
    assert (answer.status_code, code_of(answer)) == (403, "node.gone")


def test_a_body_over_the_limit_is_refused_before_its_signature_is_looked_at(node: SimulatedNode) -> None:
    answer = node.send("POST", BEAT, b" " * (1024 * 1024 + 1), headers={})
    assert (answer.status_code, code_of(answer)) == (413, "wire.size")


def test_a_wait_that_is_no_number_of_seconds_is_refused(node: SimulatedNode) -> None:
    for wait in ("abc", "-1", "56", "1e1"):
        path = f"/heartbeat?wait={wait}"
        answer = node.send("POST", path, encode(node.heartbeat_of()))
        assert (answer.status_code, code_of(answer)) == (400, "request.parameter")


def test_another_nodes_business_is_not_found(
    node: SimulatedNode, project: Project, environment: Environment, deliver: Callable[..., object]
) -> None:
    deliver()
    other = _other(project)
    answer_to_logs = LogAnswer(request_id=str(uuid4()), lines=(), next=None, error="")
    for answer in (
        other.fetch(environment.pk, 1),
        other.report(environment.pk, 1, event(1)),
        other.send("POST", f"/environments/{environment.pk}/logs", encode(answer_to_logs)),
    ):
        assert (answer.status_code, code_of(answer)) == (404, "not_found")
    assert Release.objects.get(environment=environment).status == "offered"


def test_an_environment_that_another_node_reports_is_passed_over(
    node: SimulatedNode, project: Project, environment: Environment
) -> None:
    other = _other(project)
    assert other.beat(environment_report(environment.pk, current_seq=9)).status_code == 200
    environment.refresh_from_db()
    assert not hasattr(environment, "observation")


@pytest.mark.parametrize("sequence", ["0", "99999999999999999999", "9" * 5000, "-1", "x"])
def test_a_sequence_that_cannot_be_is_not_found(node: SimulatedNode, environment: Environment, sequence: str) -> None:
    assert node.fetch(environment.pk, sequence).status_code == 404  # type: ignore[arg-type]
    assert node.report(environment.pk, sequence).status_code == 404  # type: ignore[arg-type]


def test_a_keyset_is_shipped_as_it_was_signed_and_an_unknown_version_is_not_found(node: SimulatedNode) -> None:
    from deployments import signing

    assert node.send("GET", "/keyset/1").content == signing.keyset_envelope(1)
    for version in ("2", "99999999999999999999"):
        answer = node.send("GET", f"/keyset/{version}")
        assert (answer.status_code, code_of(answer)) == (404, "not_found")


def test_no_session_and_no_redirect_meets_a_node(node: SimulatedNode) -> None:
    answer = node.client.post(f"{PREFIX}/heartbeat", b"", content_type="application/json")
    assert answer.status_code == 401
    assert not answer.cookies


def _other(project: Project) -> SimulatedNode:
    """A node that serves another environment of the same project."""
    elsewhere = environments.create(project=project, slug="elsewhere", by=BY)
    other = SimulatedNode()
    row = placed(elsewhere)
    assert other.enrol(token_for(row)).status_code == 200
    return other

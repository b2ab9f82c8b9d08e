"""Heartbeats: what is observed is stored beside what is wanted, and the reply says what is wanted, signed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.forms.models import model_to_dict
from django.utils import timezone

from deployments.models import Environment, LogQuery, Node, Observation, Order, Release
from deployments.services import environments, logs, releases
from nodeagent.wire.heartbeat import ApplyReport, Dimension, RouteObserved, ServiceObserved
from nodeagent.wire.keyset import Keyset
from tests.node_client import OBSERVED, SimulatedNode, code_of, environment_report, reply_of
from tests.situations import BY, DIGEST

WEB = ServiceObserved("running", "healthy", "healthy", None, 0, DIGEST, DIGEST, 1)


def test_the_reply_repeats_the_nonce_and_is_signed_by_the_release_key(
    node: SimulatedNode, environment: Environment, keyset: Keyset
) -> None:
    answer = node.beat(nonce="n" * 24)
    reply = reply_of(answer, keyset)
    assert reply.nonce == "n" * 24
    assert reply.deploy_public_key in keyset.keys.values()
    assert reply.keyset_version == 1
    assert [(each.environment_id, each.desired, each.generation) for each in reply.environments] == [
        (str(environment.pk), "run", 1)
    ]
    assert answer["Cache-Control"] == "no-store"


def test_a_pending_release_is_in_the_reply_with_its_digest(
    node: SimulatedNode, keyset: Keyset, offer: Callable[[], Release]
) -> None:
    release = offer()
    order = reply_of(node.beat(), keyset).environments[0]
    assert (order.pending_release_seq, order.pending_digest) == (1, release.manifest_digest)
    assert order.cancel_seq == 0


def test_a_release_that_shall_be_cancelled_is_named_beside_what_is_pending(
    node: SimulatedNode, keyset: Keyset, deliver: Callable[[], object]
) -> None:
    deliver()
    releases.cancel(release=Release.objects.get(), by=BY)
    order = reply_of(node.beat(), keyset).environments[0]
    assert (order.pending_release_seq, order.cancel_seq) == (1, 1)


def test_a_stop_is_desired_and_its_order_is_what_is_pending(
    node: SimulatedNode, keyset: Keyset, environment: Environment
) -> None:
    from deployments.services import reconciliation

    environments.stop(environment=environment, by=BY)
    reconciliation.advance(environment.pk)
    order = reply_of(node.beat(), keyset).environments[0]
    assert order.desired == "stop"
    assert order.pending_release_seq == Order.objects.get().sequence


def test_what_is_observed_is_stored_and_nothing_that_was_decided_moves(
    node: SimulatedNode, environment: Environment, offer: Callable[[], Release]
) -> None:
    offer()
    decided = model_to_dict(Environment.objects.get()), model_to_dict(Release.objects.get())
    observed = OBSERVED.__class__(
        app=Dimension("failed", "app.unhealthy", "web is unhealthy\0"),
        node=OBSERVED.node,
        routes=OBSERVED.routes,
        disk=OBSERVED.disk,
        drift=OBSERVED.drift,
        services={"web": WEB},
        routes_served=(RouteObserved("web", 8080, "public", None, "/", "http://127.0.0.1:20000/"),),
    )
    report = environment_report(environment.pk, current_seq=7, current_digest=DIGEST, max_seen_seq=8, observed=observed)
    assert node.beat(report).status_code == 200
    stored = Observation.objects.get()
    assert stored.dimensions["app"] == {
        "state": "failed",
        "code": "app.unhealthy",
        "summary": "web is unhealthy\N{REPLACEMENT CHARACTER}",
    }
    assert stored.services["web"]["observed_digest"] == DIGEST
    assert stored.routes[0]["url"] == "http://127.0.0.1:20000/"
    assert (stored.current_sequence, stored.max_seen_sequence) == (7, 8)
    assert (model_to_dict(Environment.objects.get()), model_to_dict(Release.objects.get())) == decided


def test_a_sequence_that_a_heartbeat_calls_current_does_not_become_live(
    node: SimulatedNode, environment: Environment, offer: Callable[[], Release]
) -> None:
    release = offer()
    node.beat(environment_report(environment.pk, max_seen_seq=1, current_seq=1, current_digest=release.manifest_digest))
    release.refresh_from_db()
    assert release.status == "offered"


def test_an_older_heartbeat_of_the_same_boot_is_refused_and_changes_nothing(
    node: SimulatedNode, environment: Environment
) -> None:
    node.beat(environment_report(environment.pk, current_seq=2), counter=5)
    late = node.beat(environment_report(environment.pk, current_seq=1), counter=4)
    assert (late.status_code, code_of(late)) == (409, "heartbeat.stale")
    assert Observation.objects.get().current_sequence == 2


def test_another_boot_counts_anew(node: SimulatedNode, node_row: Node) -> None:
    assert node.beat(counter=50).status_code == 200
    assert node.beat(counter=1, boot_id="another-boot").status_code == 200
    node_row.refresh_from_db()
    assert (node_row.boot_id, node_row.counter) == ("another-boot", 1)


def test_the_first_heartbeat_makes_a_node_ready_and_a_later_one_brings_it_back(
    node: SimulatedNode, node_row: Node
) -> None:
    for state in ("enrolled", "unreachable"):
        Node.objects.filter(pk=node_row.pk).update(state=state)
        assert node.beat().status_code == 200
        node_row.refresh_from_db()
        assert node_row.state == "ready"
    assert node_row.last_seen_at is not None
    assert timezone.now() - node_row.last_seen_at < timedelta(seconds=10)


def test_progress_that_a_heartbeat_reports_moves_the_deadline_but_never_into_the_future(
    node: SimulatedNode, environment: Environment, deliver: Callable[[], object]
) -> None:
    deliver()
    begun = timezone.now() - timedelta(seconds=600)
    Release.objects.update(status="applying", progressed_at=begun)
    tomorrow = int(timezone.now().timestamp()) + 86_400
    for progressed_at in (0, 2**53 - 1, tomorrow):
        apply = ApplyReport(1, "pull", "running", "", 1, progressed_at)
        assert node.beat(environment_report(environment.pk, max_seen_seq=1, apply=apply)).status_code == 200
        moved = Release.objects.get().progressed_at
        assert moved is not None
        assert moved <= timezone.now()
        assert (moved > begun) is (progressed_at == tomorrow)


def test_questions_for_log_lines_are_passed_on_until_they_are_answered(
    node: SimulatedNode, keyset: Keyset, environment: Environment, offer: Callable[..., Release]
) -> None:
    offer()
    environment.refresh_from_db()
    query = logs.ask(environment=environment, service="web", limit=5)
    (asked,) = reply_of(node.beat(), keyset).log_requests
    assert (asked.id, asked.service, asked.limit, asked.cursor) == (str(query.pk), "web", 5, None)
    LogQuery.objects.update(answer={"lines": []})
    assert reply_of(node.beat(), keyset).log_requests == ()


def test_a_heartbeat_with_anything_unknown_in_it_is_refused(node: SimulatedNode) -> None:
    body = b'{"nonce":"nnnnnnnnnnnnnnnn","more":1}'
    answer = node.send("POST", "/heartbeat?wait=0", body)
    assert (answer.status_code, code_of(answer)) == (422, "wire.members")

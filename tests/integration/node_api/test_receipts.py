"""Events and receipts: truthful outcomes, once, whoever comes first or late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments.domain.manifest import Manifest
from deployments.models import Environment, LogEntry, NamedValue, Node, Order, Receipt, Release
from deployments.services import environments, receipts, reconciliation, release_log, releases, values
from nodeagent.wire.statement import Statement
from tests.node_client import SimulatedNode, code_of, event, healthy, payload_of, receipt_for, statement_of
from tests.situations import BY, DIGEST, OTHER_IMAGE, at_once, with_image
from timeline import events
from timeline.models import Event

Deliver = Callable[..., Any]


def test_the_first_event_makes_a_release_applying(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    deliver()
    assert node.report(environment.pk, 1, event(1, "apply:begin", "verify")).status_code == 204
    assert Release.objects.get().status == "applying"
    told = list(events.of_subject("release", Release.objects.get().pk).values_list("kind", flat=True))
    assert told == ["release:accepted", "release:offered", "release:fetched", "release:begin", "release:applying"]


def test_an_event_that_is_sent_again_is_told_once(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    deliver()
    pull, start = event(1), event(1, step="start")
    for batch in ((pull,), (pull, start), (pull, start, start)):
        assert node.report(environment.pk, 1, *batch).status_code == 204
    steps = Event.objects.filter(kind="release:step").order_by("id")
    assert [each.data["step"] for each in steps] == ["pull", "start"]


def test_a_batch_that_comes_ten_times_at_once_is_told_once(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    deliver()
    batch = [event(1, "apply:begin", "verify"), event(1), event(1, step="start")]
    answers = at_once([lambda: node.report(environment.pk, 1, *batch)] * 10)
    assert {answer.status_code for answer in answers} == {204}
    assert Event.objects.filter(data__has_key="event_id").count() == 3
    assert Event.objects.filter(kind="release:applying").count() == 1


def test_progress_moves_the_moment_that_the_deadline_counts_from_and_late_news_does_not(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    deliver()
    begun = timezone.now() - timedelta(seconds=300)
    Release.objects.update(progressed_at=begun)
    node.report(environment.pk, 1, event(1, at="2001-01-01T00:00:00Z"))
    assert Release.objects.get().progressed_at == begun
    node.report(environment.pk, 1, event(1, "apply:progress", at="2999-01-01T00:00:00.123456789Z"))
    moved = Release.objects.get().progressed_at
    assert moved is not None
    assert begun < moved <= timezone.now()


def test_an_alarm_is_told_as_one_and_begins_no_apply(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    deliver()
    node.report(environment.pk, 1, event(1, "alarm", "", detail="payload.equivocation\0"))
    told = Event.objects.get(kind="release:alarm")
    assert (told.severity, told.data["detail"]) == ("alarm", "payload.equivocation\N{REPLACEMENT CHARACTER}")
    assert Release.objects.get().status == "offered"


def test_a_time_that_no_calendar_has_is_refused_and_nothing_of_its_batch_is_kept(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    deliver()
    answer = node.report(environment.pk, 1, event(1), event(1, at="2026-13-41T99:00:00Z"))
    assert (answer.status_code, code_of(answer)) == (422, "wire.value")
    assert not Event.objects.filter(kind="release:step").exists()


def test_a_node_that_never_stops_talking_is_cut_off_and_its_receipt_still_counts(
    node: SimulatedNode, environment: Environment, deliver: Deliver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "MAX_EVENTS_OF_A_SEQUENCE", 3)
    stated = deliver().statement
    for _ in range(3):
        node.report(environment.pk, 1, event(1), event(1))
    assert Event.objects.filter(kind="release:step").count() == 3
    _live(node, environment, stated)


def test_a_receipt_of_success_makes_a_release_live_with_its_routes_and_evidence(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    stated = deliver().statement
    _live(node, environment, stated)
    release = Release.objects.get()
    assert (release.was_live, release.serving_after) == (True, 1)
    assert release.live_at is not None
    assert release.settled_at is not None
    assert release.routes[0]["url"] == "http://127.0.0.1:20000/"
    assert release.timings_ms == {"pull": 120, "health": 900}
    assert release.evidence is not None
    assert release.evidence["services"]["web"]["observed_digest"] == DIGEST
    assert release_log.verify(environment.project) is None


def test_a_later_release_that_becomes_live_supersedes_the_one_before(
    node: SimulatedNode, environment: Environment, deliver: Deliver, content: Manifest
) -> None:
    first = deliver().statement
    _live(node, environment, first)
    second = deliver(with_image(content, OTHER_IMAGE)).statement
    assert second.previous_release_digest == first.release_digest
    _live(node, environment, second, OTHER_IMAGE)
    assert [each.status for each in Release.objects.order_by("sequence")] == ["superseded", "live"]


def test_the_same_receipt_ten_times_at_once_settles_once(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    raw = node.signed(receipt_for(deliver().statement, {"web": healthy(DIGEST)}))
    answers = at_once([lambda: node.report(environment.pk, 1, receipt=raw)] * 10)
    assert {answer.status_code for answer in answers} == {204}
    assert Receipt.objects.count() == 1
    assert Event.objects.filter(kind="release:live").count() == 1
    assert sum(b'"what":"receipt"' in bytes(each.body) for each in LogEntry.objects.all()) == 1


def test_a_failed_upgrade_says_what_failed_and_what_serves(
    node: SimulatedNode, environment: Environment, deliver: Deliver, content: Manifest
) -> None:
    _live(node, environment, deliver().statement)
    stated = deliver(with_image(content, OTHER_IMAGE)).statement
    sick = healthy(
        OTHER_IMAGE.partition("@")[2], health="unhealthy", meaning="unhealthy", log_tail="out of cheese\0", exit_code=1
    )
    failed = receipt_for(
        stated,
        {"web": sick},
        outcome="failed",
        code="health.unhealthy",
        summary="web did not become healthy.",
        serving_seq=1,
        routes_served=(),
    )
    assert node.report(environment.pk, 2, receipt=node.signed(failed)).status_code == 204
    old, new = Release.objects.order_by("sequence")
    assert (old.status, new.status, new.serving_after) == ("live", "failed", 1)
    assert new.evidence is not None
    assert (new.evidence["code"], new.evidence["summary"]) == ("health.unhealthy", "web did not become healthy.")
    assert new.evidence["services"]["web"]["log_tail"] == "out of cheese\N{REPLACEMENT CHARACTER}"
    assert Event.objects.get(kind="release:failed").severity == "error"


def test_a_cancelled_release_ends_with_its_nodes_receipt(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    stated = deliver().statement
    releases.cancel(release=Release.objects.get(), by=BY)
    word = receipt_for(stated, {}, outcome="cancelled", code="apply.cancelled", serving_seq=0, routes_served=())
    node.report(environment.pk, 1, receipt=node.signed(word))
    assert Release.objects.get().status == "cancelled"


@pytest.mark.parametrize(
    "observed",
    [
        {},
        {"web": healthy(DIGEST), "stranger": healthy(DIGEST)},
        {"web": healthy(DIGEST, meaning="unhealthy", health="unhealthy")},
        {"web": healthy(DIGEST, health="unhealthy")},
        {"web": healthy(DIGEST, state="restarting")},
        {"web": healthy(DIGEST, observed_digest="sha256:" + "c" * 64)},
        {"web": healthy(DIGEST, observed_digest="")},
        {"web": healthy("sha256:" + "c" * 64)},
        {"web": healthy(DIGEST, meaning="completed", state="exited", health="none", exit_code=1)},
    ],
)
def test_a_receipt_of_success_that_does_not_prove_it_fails_the_release(
    node: SimulatedNode, environment: Environment, deliver: Deliver, observed: dict[str, Any]
) -> None:
    word = receipt_for(deliver().statement, observed)
    assert node.report(environment.pk, 1, receipt=node.signed(word)).status_code == 204
    release = Release.objects.get()
    assert (release.status, release.was_live) == ("failed", False)
    assert (release.evidence or {})["code"] == "receipt.inconsistent"
    assert release_log.verify(environment.project) is None


def test_a_receipt_signed_by_another_key_is_refused(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    word = receipt_for(deliver().statement, {"web": healthy(DIGEST)})
    answer = node.report(environment.pk, 1, receipt=SimulatedNode().signed(word))
    assert (answer.status_code, code_of(answer)) == (422, "envelope.unknown_key")
    assert Release.objects.get().status == "offered"


@pytest.mark.parametrize(
    "changes",
    [
        {"node_id": "00000000-0000-4000-8000-000000000000"},
        {"environment_id": "00000000-0000-4000-8000-000000000000"},
        {"seq": 2, "serving_seq": 2},
        {"generation": 2},
        {"release_digest": "sha256:" + "f" * 64},
        {"outcome": "stopped"},
    ],
)
def test_a_receipt_for_something_else_is_refused_with_its_whole_batch(
    node: SimulatedNode, environment: Environment, deliver: Deliver, changes: dict[str, Any]
) -> None:
    word = receipt_for(deliver().statement, {"web": healthy(DIGEST)}, **changes)
    answer = node.report(environment.pk, 1, event(1), receipt=node.signed(word))
    assert (answer.status_code, code_of(answer)) == (422, "receipt.foreign")
    assert (Release.objects.get().status, Receipt.objects.count()) == ("offered", 0)
    assert not Event.objects.filter(kind="release:step").exists()


def test_an_unknown_outcome_becomes_what_the_receipt_says_whenever_it_comes(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    stated = deliver().statement
    _give_up()
    _live(node, environment, stated)


def test_a_late_receipt_of_success_does_not_push_a_later_release_aside(
    node: SimulatedNode, environment: Environment, deliver: Deliver, content: Manifest
) -> None:
    first = deliver().statement
    _give_up()
    _live(node, environment, deliver(with_image(content, OTHER_IMAGE)).statement, OTHER_IMAGE)
    node.report(environment.pk, 1, receipt=node.signed(receipt_for(first, {"web": healthy(DIGEST)})))
    old, new = Release.objects.order_by("sequence")
    assert (old.status, old.was_live, new.status) == ("superseded", True, "live")
    assert release_log.verify(environment.project) is None


def test_a_receipt_that_contradicts_a_settled_outcome_is_kept_and_changes_nothing(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    stated = deliver().statement
    _live(node, environment, stated)
    word = receipt_for(stated, {}, outcome="failed", code="x", serving_seq=0)
    assert node.report(environment.pk, 1, receipt=node.signed(word)).status_code == 204
    assert Release.objects.get().status == "live"
    assert Event.objects.get(kind="release:late_receipt").data["outcome"] == "failed"
    assert Receipt.objects.count() == 2


def test_a_node_that_lost_the_environment_does_not_settle_what_another_one_applies_now(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    stated = deliver().statement
    elsewhere = Node.objects.create(account="local", state="ready")
    Environment.objects.filter(pk=environment.pk).update(node=elsewhere, generation=2)
    word = receipt_for(stated, {}, outcome="failed", code="x", serving_seq=0)
    assert node.report(environment.pk, 1, receipt=node.signed(word)).status_code == 204
    assert Release.objects.get().status == "offered"
    assert Event.objects.filter(kind="release:late_receipt").count() == 1


def test_a_stop_is_done_with_its_receipt_and_what_was_live_is_superseded(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    stated = deliver().statement
    _live(node, environment, stated)
    word = _stopped(node, environment)
    node.report(environment.pk, 2, event(2, "apply:begin", "stop-old"), receipt=node.signed(word))
    assert (Order.objects.get().status, Release.objects.get().status) == ("done", "superseded")
    assert Event.objects.filter(kind="order:begin").count() == 1
    assert release_log.verify(environment.project) is None
    # The node may ask again after the environment was taken off it.
    Environment.objects.filter(pk=environment.pk).update(node=None)
    assert node.report(environment.pk, 2, receipt=node.signed(word)).status_code == 204


def test_a_stop_that_failed_says_why(node: SimulatedNode, environment: Environment, deliver: Deliver) -> None:
    stated = deliver().statement
    _live(node, environment, stated)
    word = replace(_stopped(node, environment), outcome="failed", code="stop.timeout", summary="web does not end.")
    node.report(environment.pk, 2, receipt=node.signed(word))
    order = Order.objects.get()
    assert (order.status, (order.evidence or {})["code"]) == ("failed", "stop.timeout")
    assert Release.objects.get().status == "live"


def test_a_secret_that_a_node_did_not_hide_is_hidden_here(
    node: SimulatedNode, environment: Environment, deliver: Deliver
) -> None:
    stated = deliver().statement
    values.set_value(environment=environment, kind=NamedValue.SECRET, name="LATER", value=b"canary-77", by=BY)
    sick = healthy(DIGEST, meaning="exited", state="exited", exit_code=1, log_tail="key is canary-77")
    word = receipt_for(stated, {"web": sick}, outcome="failed", code="x", summary="saw canary-77", serving_seq=0)
    node.report(environment.pk, 1, event(1, detail="canary-77"), receipt=node.signed(word))
    assert "canary-77" not in str(Release.objects.get().evidence)
    assert "canary-77" not in str(list(Event.objects.values_list("data", flat=True)))


def _live(node: SimulatedNode, environment: Environment, stated: Statement, image: str = DIGEST) -> None:
    word = receipt_for(stated, {"web": healthy(image.rpartition("@")[2])})
    answer = node.report(environment.pk, stated.seq, event(stated.seq, "apply:begin"), receipt=node.signed(word))
    assert answer.status_code == 204, answer.content
    release = Release.objects.get(environment=environment, sequence=stated.seq)
    assert release.status == "live", release.evidence


def _give_up() -> None:
    Release.objects.filter(status="offered").update(progressed_at=timezone.now() - timedelta(days=1))
    for release_id in releases.overdue(limit=10):
        releases.give_up_on(release_id)
    assert Release.objects.order_by("-sequence")[0].status == "unknown"


def _stopped(node: SimulatedNode, environment: Environment) -> Any:
    from deployments import signing

    environments.stop(environment=environment, by=BY)
    reconciliation.advance(environment.pk)
    stated = statement_of(payload_of(node.fetch(environment.pk, 2)), signing.keyset())
    return receipt_for(stated, {}, outcome="stopped", summary="", serving_seq=0, routes_served=())

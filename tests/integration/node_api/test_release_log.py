"""The release log: one chain under any concurrency, and every way of rewriting history is found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import rfc8785

from agents.models import Project
from deployments.models import Environment, LogEntry, Node, Receipt, Release
from deployments.services import release_log
from tests.node_client import SimulatedNode, event, healthy, receipt_for
from tests.situations import DIGEST, at_once, body_of


def test_twenty_appends_at_once_make_one_chain(project: Project) -> None:
    made = at_once([lambda: release_log.append(project_id=project.pk, body={"what": "test"})] * 20)
    assert sorted(entry.position for entry in made) == list(range(1, 21))
    assert release_log.verify(project) is None


def test_two_projects_have_two_chains(project: Project) -> None:
    other = Project.objects.create(slug="other", namespace="other")
    for each in (project, other, project):
        release_log.append(project_id=each.pk, body={"what": "test"})
    assert LogEntry.objects.filter(project=other).get().position == 1
    assert release_log.verify(project) is None


def test_an_entry_says_who_what_and_when_and_covers_the_one_before(project: Project) -> None:
    first = release_log.append(project_id=project.pk, body={"what": "test", "by": {"operator": "ada"}})
    second = release_log.append(project_id=project.pk, body={"what": "test"})
    body = body_of(second.body)
    assert (body["v"], body["position"], body["previous"], body["what"]) == (1, 2, first.entry_hash, "test")
    assert second.previous_hash == first.entry_hash
    assert bytes(second.body) == rfc8785.dumps(body)


@pytest.fixture
def history(node: SimulatedNode, environment: Environment, deliver: Callable[..., Any]) -> Environment:
    """One release, accepted, signed, live."""
    raw = node.signed(receipt_for(deliver().statement, {"web": healthy(DIGEST)}))
    assert node.report(environment.pk, 1, event(1), receipt=raw).status_code == 204
    assert release_log.verify(environment.project) is None
    assert [body_of(each.body)["what"] for each in LogEntry.objects.order_by("position")] == [
        "release.accepted",
        "payload.signed",
        "receipt",
    ]
    return environment


def test_a_changed_body_is_found(history: Environment) -> None:
    entry = LogEntry.objects.get(position=2)
    LogEntry.objects.filter(pk=entry.pk).update(body=bytes(entry.body).replace(b'"apply"', b'"retire"'))
    assert _found(history) == (2, "log.hash")


def test_an_entry_that_was_taken_out_is_found(history: Environment) -> None:
    LogEntry.objects.filter(position=2).delete()
    assert _found(history) == (2, "log.position")


def test_a_log_whose_end_was_cut_off_is_found(history: Environment) -> None:
    LogEntry.objects.filter(position=3).delete()
    assert _found(history) == (0, "log.live_unproven")


def test_a_log_that_was_emptied_is_found(history: Environment) -> None:
    LogEntry.objects.all().delete()
    assert _found(history) == (0, "log.release_unlogged")


def test_a_manifest_that_was_exchanged_is_found(history: Environment) -> None:
    Release.objects.update(manifest=b"{}")
    assert _found(history) == (1, "log.manifest")


def test_a_release_that_was_taken_out_is_found(history: Environment) -> None:
    Release.objects.all().delete()
    assert _found(history) == (1, "log.release_missing")


def test_a_chain_that_was_made_anew_over_a_forged_payload_is_found_by_its_signature(history: Environment) -> None:
    body = body_of(LogEntry.objects.get(position=2).body)
    body["envelope"] = body["envelope"].replace('"payload":"eyJ', '"payload":"eyK')
    _rewrite(history, {2: body})
    assert _found(history) == (2, "log.payload_signature")


def test_a_chain_that_was_made_anew_over_another_outcome_is_found_by_the_nodes_signature(
    history: Environment,
) -> None:
    body = body_of(LogEntry.objects.get(position=3).body)
    _rewrite(history, {3: body | {"outcome": "failed", "status": "failed"}})
    assert _found(history) == (3, "log.receipt")


def test_a_receipt_by_the_key_of_another_node_is_found(history: Environment) -> None:
    body = body_of(LogEntry.objects.get(position=2).body)
    _rewrite(history, {2: body | {"node_key": "00" * 32}})
    assert _found(history) == (3, "log.receipt_signature")


def test_an_entry_without_the_members_of_its_kind_is_found(history: Environment) -> None:
    body = body_of(LogEntry.objects.get(position=1).body)
    _rewrite(history, {1: body | {"environment_id": 7}})
    assert _found(history)[1] in {"log.body", "log.release_missing"}
    del body["manifest_digest"]
    _rewrite(history, {1: body})
    assert _found(history) == (1, "log.body")


def test_a_release_that_is_called_live_without_a_receipt_is_found(history: Environment) -> None:
    Release.objects.update(was_live=False, status="failed")
    assert release_log.verify(history.project) is None
    LogEntry.objects.filter(position=3).delete()
    Receipt.objects.all().delete()
    assert release_log.verify(history.project) is None
    Release.objects.update(was_live=True, status="live")
    assert _found(history) == (0, "log.live_unproven")


def test_a_receipt_that_lies_in_the_table_alone_is_found(history: Environment) -> None:
    row = Receipt.objects.get()
    Receipt.objects.create(
        environment=history, node=row.node, sequence=1, outcome="live", envelope=b"x", digest="sha256:" + "0" * 64
    )
    assert _found(history) == (0, "log.receipt_unlogged")


def test_keys_that_a_node_got_since_do_not_unsettle_what_it_signed_before(history: Environment) -> None:
    Node.objects.update(ed25519_public=bytes(32))
    assert release_log.verify(history.project) is None


def _found(environment: Environment) -> tuple[int, str]:
    broken = release_log.verify(environment.project)
    assert broken is not None
    assert broken.why
    assert broken.code in str(broken)
    return broken.position, broken.code


def _rewrite(environment: Environment, bodies: dict[int, dict[str, Any]]) -> None:
    """What somebody with the whole database, but none of the keys, would do."""
    previous = release_log.START
    for entry in LogEntry.objects.filter(project=environment.project).order_by("position"):
        body = bodies.get(entry.position, body_of(entry.body)) | {"previous": previous}
        content = rfc8785.dumps(body)
        made = release_log.entry_hash(previous, content)
        LogEntry.objects.filter(pk=entry.pk).update(body=content, previous_hash=previous, entry_hash=made)
        previous = made

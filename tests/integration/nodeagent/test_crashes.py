"""The agent is killed at every line of its journal, and the next start finishes or undoes what was begun."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests import nodes
from tests.integration.nodeagent.documents import web
from tests.nodes import Node

Page = Callable[[str], str]
BEFORE = ("verify", "disk", "volumes", "login", "pull", "create", "start", "health", "settle", "routes", "pointer")
AFTER = ("stop-old", "done")
POINTS = [f"{step}:{when}" for step in (*BEFORE, *AFTER) for when in ("begin", "end")]
KILLED = -9
pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize("point", POINTS)
def test_a_first_release_that_was_killed_there_is_finished(node: Node, page: Page, point: str) -> None:
    node.offer(1, web(page("one")))
    assert node.crash_in_apply(1, point) == KILLED
    outcome = node.recover()
    assert outcome is not None
    assert (outcome.seq, outcome.outcome) == (1, "live")
    assert nodes.get(node.url(outcome)) == (200, "one\n")
    node.tidied()
    assert len(node.containers(running=False)) == 1
    assert node.recover() is None


@pytest.mark.parametrize("point", POINTS)
def test_an_upgrade_that_was_killed_there_is_finished(node: Node, page: Page, point: str) -> None:
    node.offer(1, web(page("one")))
    url = node.url(node.apply(1))
    node.tidied()
    node.offer(2, web(page("two")))
    assert node.crash_in_apply(2, point) == KILLED
    assert nodes.get(url)[0] == 200
    outcome = node.recover()
    assert outcome is not None
    assert (outcome.seq, outcome.outcome) == (2, "live")
    assert nodes.get(url) == (200, "two\n")
    node.tidied()
    (container,) = node.containers(running=False)
    assert container.labels["sam.release"] == "2"
    assert node.recover() is None


@pytest.mark.parametrize("point", ["create:end", "start:begin", "start:end", "health:end", "settle:end", "pointer:end"])
def test_a_stop_first_upgrade_that_was_killed_there_is_finished(node: Node, page: Page, point: str) -> None:
    data, more, top = {"store": node.volume("store")}, "volumes: [store:/var/store]", "volumes: {store: {}}"
    node.offer(1, web(page("one"), more=more, top=top), volumes=data)
    url = node.url(node.apply(1))
    node.tidied()
    node.offer(2, web(page("two"), more=more, top=top), volumes=data)
    assert node.crash_in_apply(2, point) == KILLED
    outcome = node.recover()
    assert outcome is not None
    assert outcome.outcome == "live"
    assert nodes.get(url) == (200, "two\n")
    node.tidied()
    assert len(node.containers(running=False)) == 1


@pytest.mark.parametrize("point", ["revert:begin", "revert:end"])
def test_a_revert_that_was_killed_there_is_finished_with_its_evidence(node: Node, page: Page, point: str) -> None:
    node.offer(1, web(page("one")))
    url = node.url(node.apply(1))
    node.tidied()
    node.offer(2, web(page("two"), more='command: [sh, -c, "echo so sick; sleep 60"]'))
    assert node.crash_in_apply(2, point) == KILLED
    outcome = node.recover()
    assert outcome is not None
    assert (outcome.outcome, outcome.code, outcome.serving_seq) == ("failed", "service.unhealthy", 1)
    assert "so sick" in outcome.services["web"].log_tail
    assert nodes.get(url) == (200, "one\n")
    (container,) = node.containers(running=False)
    assert container.labels["sam.release"] == "1"


def test_an_apply_that_kills_the_agent_each_time_is_given_up(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    url = node.url(node.apply(1))
    node.tidied()
    node.offer(2, web(page("two")))
    for _ in range(3):
        assert node.crash_in_apply(2, "start:end") == KILLED
    outcome = node.recover()
    assert outcome is not None
    assert (outcome.outcome, outcome.code, outcome.serving_seq) == ("failed", "apply.crashed", 1)
    assert nodes.get(url) == (200, "one\n")
    assert len(node.containers(running=False)) == 1


def test_what_was_stopped_while_the_agent_was_away_runs_again(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    url = node.url(node.apply(1))
    (container,) = node.containers()
    container.stop(timeout=1)
    assert nodes.get(url)[0] == 503
    assert node.recover() is None
    assert nodes.get(url) == (200, "one\n")


def test_a_container_that_somebody_removed_is_made_again(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    url = node.url(node.apply(1))
    for container in node.containers():
        container.remove(force=True)
    assert node.recover() is None
    (made,) = node.containers()
    made.reload()
    assert nodes.get(url)[0] in (200, 503)


def test_a_crash_is_not_ordered_without_the_test_aids(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM_AGENT_CRASH_AT", "create")
    monkeypatch.delenv("SAM_AGENT_TEST_AIDS", raising=False)
    with pytest.raises(ValueError, match="SAM_AGENT_TEST_AIDS"):
        node.new_engine()

"""Releases on a real node: what goes live, what does not, and what serves afterwards."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pytest

from nodeagent.ports import Cancellation
from tests import nodes
from tests.integration.nodeagent.documents import CHECK, web
from tests.nodes import Node

Page = Callable[[str], str]
CONTAINERS = "10.128.0.0/9"
"""The networks of environments: the node asks its containers there."""
pytestmark = pytest.mark.timeout(120)


def test_a_first_release_goes_live_at_the_expected_digest(node: Node, page: Page) -> None:
    image = page("one")
    node.offer(1, web(image))
    outcome = node.apply(1)
    assert (outcome.outcome, outcome.code, outcome.serving_seq) == ("live", "", 1)
    assert nodes.get(node.url(outcome)) == (200, "one\n")
    evidence = outcome.services["web"]
    assert (evidence.state, evidence.health, evidence.meaning) == ("running", "healthy", "healthy")
    assert evidence.expected_digest == evidence.observed_digest == image.partition("@")[2]
    assert node.store.current(node.environment_id) == 1


def test_an_update_keeps_its_address_and_leaves_one_container(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    first = node.apply(1)
    node.offer(2, web(page("two")))
    second = node.apply(2)
    assert second.outcome == "live"
    assert node.url(second) == node.url(first)
    assert nodes.get(node.url(second)) == (200, "two\n")
    node.tidied()
    (container,) = node.containers(running=False)
    assert container.labels["sam.release"] == "2"


def test_a_service_that_did_not_change_is_not_touched(node: Node, page: Page) -> None:
    api = f"api:\n  image: {page('api')}\n"
    node.offer(1, web(page("one"), others=api))
    node.apply(1)
    (before,) = node.containers("api")
    node.offer(2, web(page("two"), others=api), changed_in={"api": 1})
    assert node.apply(2).outcome == "live"
    node.tidied()
    (after,) = node.containers("api")
    assert (after.id, after.attrs["State"]["StartedAt"]) == (before.id, before.attrs["State"]["StartedAt"])


def test_an_unhealthy_update_leaves_the_old_release_serving_and_names_the_service(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    first = node.apply(1)
    (before,) = node.containers()
    sick = web(page("two"), more='command: [sh, -c, "echo about to be sick; exec httpd -f -p 9999"]')
    node.offer(2, sick)
    outcome = node.apply(2)
    assert (outcome.outcome, outcome.code, outcome.serving_seq) == ("failed", "service.unhealthy", 1)
    assert "web" in outcome.summary
    evidence = outcome.services["web"]
    assert (evidence.state, evidence.health, evidence.meaning) == ("running", "unhealthy", "unhealthy")
    assert "about to be sick" in evidence.log_tail
    assert nodes.get(node.url(first)) == (200, "one\n")
    assert [c.id for c in node.containers(running=False)] == [before.id]
    assert node.store.current(node.environment_id) == 1


def test_a_first_release_that_fails_leaves_nothing_running(node: Node, program: Page) -> None:
    node.offer(1, web(program("/bin/sh", "-c", "echo no way; exit 3")))  # type: ignore[call-arg]
    outcome = node.apply(1)
    assert (outcome.outcome, outcome.serving_seq) == ("failed", 0)
    assert outcome.code in ("service.restarting", "service.exited")
    assert "no way" in outcome.services["web"].log_tail
    assert node.containers(running=False) == []
    assert node.store.current(node.environment_id) is None


def test_an_image_that_is_gone_fails_before_anything_starts(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    first = node.apply(1)
    node.offer(2, web(page("one").partition("@")[0] + "@sha256:" + "0" * 64))
    outcome = node.apply(2)
    assert (outcome.code, outcome.serving_seq) == ("image.not_found", 1)
    assert nodes.get(node.url(first)) == (200, "one\n")


def test_a_service_without_a_check_is_live_after_five_seconds_and_says_so(node: Node, page: Page) -> None:
    node.offer(1, web(page("one"), check=""))
    outcome = node.apply(1)
    assert outcome.services["web"].meaning == "running-no-check"
    assert outcome.timings_ms["settle"] + outcome.timings_ms["health"] > 4500


@pytest.mark.allow_hosts(["127.0.0.0/8", CONTAINERS])
def test_a_check_of_the_nodes_own_counts_as_healthy(node: Node, page: Page) -> None:
    check = "healthcheck:\n  x-sam-http: {path: /up, port: 8080}\n"
    node.offer(1, web(page("one"), check=check))
    outcome = node.apply(1)
    assert (outcome.outcome, outcome.services["web"].meaning) == ("live", "healthy")


@pytest.mark.allow_hosts(["127.0.0.0/8", CONTAINERS])
def test_a_check_of_the_nodes_own_that_fails_says_what_was_asked(node: Node, page: Page) -> None:
    check = "healthcheck:\n  x-sam-http: {path: /nowhere, port: 8080}\n  interval: 1s\n  retries: 2\n"
    node.offer(1, web(page("one"), check=check))
    outcome = node.apply(1)
    assert outcome.code == "service.unhealthy"
    assert "/nowhere" in outcome.summary


def test_a_job_runs_once_for_each_change_and_must_succeed(node: Node, page: Page, program: Page) -> None:
    job = 'seed:\n  image: {image}\n  restart: "no"\n'
    first, second = (program("/bin/sh", "-c", f"echo seeded {n}") for n in (1, 2))  # type: ignore[call-arg]
    more = "depends_on: {seed: {condition: service_completed_successfully}}"
    node.offer(1, web(page("one"), more=more, others=job.format(image=first)))
    outcome = node.apply(1)
    assert outcome.services["seed"].meaning == "completed"
    (container,) = node.containers("seed", running=False)
    node.offer(2, web(page("two"), more=more, others=job.format(image=first)), changed_in={"seed": 1})
    assert node.apply(2).services["seed"].meaning == "completed"
    node.tidied()
    (kept,) = node.containers("seed", running=False)
    assert (kept.id, kept.attrs["State"]["StartedAt"]) == (container.id, container.attrs["State"]["StartedAt"])
    node.offer(3, web(page("two"), more=more, others=job.format(image=second)), changed_in={"web": 2})
    node.apply(3)
    node.tidied()
    (again,) = node.containers("seed", running=False)
    assert b"seeded 2" in again.logs()


def test_a_failing_job_fails_the_release(node: Node, page: Page, program: Page) -> None:
    job = f'seed:\n  image: {program("/bin/sh", "-c", "echo no seeds; exit 7")}\n  restart: "no"\n'  # type: ignore[call-arg]
    more = "depends_on: {seed: {condition: service_completed_successfully}}"
    node.offer(1, web(page("one"), more=more, others=job))
    outcome = node.apply(1)
    assert (outcome.outcome, outcome.code) == ("failed", "service.exited")
    assert (outcome.services["seed"].exit_code, outcome.services["seed"].log_tail) == (7, "no seeds")
    assert node.containers(running=False) == []


def test_a_dependant_starts_only_when_what_it_needs_is_healthy(node: Node, page: Page) -> None:
    db = f"db:\n  image: {page('db')}\n" + textwrap.indent(CHECK, "  ")
    node.offer(1, web(page("one"), more="depends_on: {db: {condition: service_healthy}}", others=db))
    assert node.apply(1).outcome == "live"
    (first,), (second,) = node.containers("db"), node.containers("web")
    healthy_at = first.attrs["State"]["Health"]["Log"][0]["End"]
    assert first.attrs["State"]["StartedAt"] < second.attrs["State"]["StartedAt"]
    assert healthy_at[:19] <= second.attrs["State"]["StartedAt"][:19]


def test_waiting_for_the_health_of_a_service_without_a_check_fails_saying_so(node: Node, page: Page) -> None:
    db = f"db:\n  image: {page('db')}\n"
    node.offer(1, web(page("one"), more="depends_on: {db: {condition: service_healthy}}", others=db))
    outcome = node.apply(1)
    assert outcome.code == "service.no_check"
    assert node.containers(running=False) == []


def test_a_pre_flight_really_runs_in_the_new_image_before_the_switch(node: Node, page: Page) -> None:
    top = "x-sam-pre-flight: {service: web, command: [sh, -c, 'cat /www/index.html >&2; exit 9'], timeout_seconds: 20}"
    node.offer(1, web(page("one")))
    first = node.apply(1)
    node.offer(2, web(page("two"), top=top))
    outcome = node.apply(2)
    assert (outcome.outcome, outcome.code, outcome.serving_seq) == ("failed", "pre_flight.failed", 1)
    assert (outcome.services["web"].exit_code, outcome.services["web"].log_tail) == (9, "two")
    assert nodes.get(node.url(first)) == (200, "one\n")
    node.offer(3, web(page("two"), top=top.replace("exit 9", "exit 0")))
    assert node.apply(3).outcome == "live"


def test_a_pre_flight_that_takes_too_long_fails(node: Node, page: Page) -> None:
    top = "x-sam-pre-flight: {service: web, command: [sleep, '60'], timeout_seconds: 1}"
    node.offer(1, web(page("one"), top=top))
    assert node.apply(1).code == "pre_flight.timeout"
    assert node.containers(running=False) == []


def test_a_service_with_a_volume_stops_before_its_successor_starts(node: Node, page: Page) -> None:
    data = {"store": node.volume("store")}
    more, top = "volumes: [store:/var/store]", "volumes: {store: {}}"
    node.offer(1, web(page("one"), more=more, top=top), volumes=data)
    assert node.apply(1).outcome == "live"
    (old,) = node.containers()
    assert old.exec_run(["sh", "-c", "echo kept"], user="0").exit_code == 0
    node.offer(2, web(page("two"), more=more, top=top), volumes=data)
    second = node.apply(2)
    assert nodes.get(node.url(second)) == (200, "two\n")
    node.tidied()
    (new,) = node.containers(running=False)
    assert new.labels["sam.release"] == "2"


def test_a_failed_stop_first_update_starts_the_old_release_again(node: Node, page: Page) -> None:
    data = {"store": node.volume("store")}
    more, top = "volumes: [store:/var/store]", "volumes: {store: {}}"
    node.offer(1, web(page("one"), more=more, top=top), volumes=data)
    first = node.apply(1)
    (old,) = node.containers()
    node.offer(2, web(page("two"), more=more + "\ncommand: [sleep, '60']", top=top), volumes=data)
    outcome = node.apply(2)
    assert (outcome.outcome, outcome.code, outcome.serving_seq) == ("failed", "service.unhealthy", 1)
    assert "Release 1 serves." in outcome.summary
    assert [c.id for c in node.containers(running=False)] == [old.id]
    assert nodes.get(node.url(first)) == (200, "one\n")


def test_a_volume_that_is_not_there_stops_the_release_before_the_first_byte(node: Node, page: Page) -> None:
    more, top = "volumes: [store:/var/store]", "volumes: {store: {}}"
    node.offer(1, web(page("one"), more=more, top=top), volumes={"store": node.root / "nowhere"})
    outcome = node.apply(1)
    assert outcome.code == "volume.missing"
    assert node.containers(running=False) == []


def test_a_directory_that_is_another_volume_is_refused(node: Node, page: Page) -> None:
    other = node.volume("other")
    more, top = "volumes: [store:/var/store]", "volumes: {store: {}}"
    node.offer(1, web(page("one"), more=more, top=top), volumes={"store": other})
    assert node.apply(1).code == "volume.other"


def test_a_cancelled_release_is_reverted(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    first = node.apply(1)
    cancel = Cancellation()
    cancel.set("apply.cancelled")
    node.offer(2, web(page("two")))
    outcome = node.apply(2, cancel=cancel)
    assert (outcome.outcome, outcome.code, outcome.serving_seq) == ("cancelled", "apply.cancelled", 1)
    assert nodes.get(node.url(first)) == (200, "one\n")
    assert len(node.containers(running=False)) == 1


def test_a_passed_deadline_fails_the_release(node: Node, page: Page) -> None:
    cancel = Cancellation()
    cancel.set("apply.deadline")
    node.offer(1, web(page("one")))
    outcome = node.apply(1, cancel=cancel)
    assert (outcome.outcome, outcome.code) == ("failed", "apply.deadline")
    assert node.containers(running=False) == []


def test_a_secret_is_in_the_container_and_in_no_file_log_or_event(node: Node, page: Page) -> None:
    canary = "canary-b1946ac92492d234"
    more = 'environment: {TOKEN: "${TOKEN}"}\ncommand: [sh, -c, "echo $$TOKEN; exec sleep 60"]'
    node.offer(1, web(page("one"), more=more), values={"TOKEN": canary})
    outcome = node.apply(1)
    assert outcome.outcome == "failed"
    assert "[redacted]" in outcome.services["web"].log_tail
    assert canary not in repr(outcome)
    assert canary not in repr(node.events)
    for path in node.root.rglob("*"):
        if path.is_file():
            assert canary.encode() not in path.read_bytes(), path
    node.offer(2, web(page("one"), more='environment: {TOKEN: "${TOKEN}"}'), values={"TOKEN": canary})
    live = node.apply(2)
    assert f"TOKEN={canary}" in nodes.get(node.url(live), "/cgi-bin/env")[1]


def test_stop_leaves_nothing_running_and_start_is_a_new_release(node: Node, page: Page) -> None:
    data = {"store": node.volume("store")}
    document = web(page("one"), more="volumes: [store:/var/store]", top="volumes: {store: {}}")
    node.offer(1, document, volumes=data)
    first = node.apply(1)
    outcome = node.stop(2)
    assert (outcome.outcome, outcome.serving_seq) == ("stopped", 0)
    assert node.containers(running=False) == []
    assert nodes.get(node.url(first))[0] == 404
    assert node.store.current(node.environment_id) is None
    assert not (node.engine.hands.mounts.path(node.environment_id, "store")).exists()
    node.offer(3, document, volumes=data)
    assert node.url(node.apply(3)) == node.url(first)
    assert node.stop(4, "retire").outcome == "retired"
    assert node.engine.observe(node.environment_id).app.state == "none"

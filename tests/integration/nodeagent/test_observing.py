"""What a node says of an environment that runs, of one that somebody meddled with, and of its logs and images."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests import images
from tests.integration.nodeagent.documents import web
from tests.nodes import Node

Page = Callable[[str], str]
pytestmark = pytest.mark.timeout(120)


def test_a_healthy_environment_is_all_right_in_every_dimension(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    node.apply(1)
    seen = node.engine.observe(node.environment_id)
    assert [d.state for d in (seen.app, seen.node, seen.routes, seen.drift)] == ["ok"] * 4
    service = seen.services["web"]
    assert (service.state, service.health, service.meaning, service.release) == ("running", "healthy", "healthy", 1)
    assert seen.routes_served[0].url


def test_an_environment_without_a_release_has_nothing_to_tell(node: Node) -> None:
    seen = node.engine.observe(node.environment_id)
    assert [d.state for d in (seen.app, seen.node, seen.routes, seen.drift)] == ["none", "ok", "none", "ok"]


def test_a_container_that_dies_later_shows_in_app(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    node.apply(1)
    node.containers()[0].stop(timeout=1)
    seen = node.engine.observe(node.environment_id)
    assert (seen.app.state, seen.app.code) == ("failed", "app.exited")
    assert seen.drift.state == "ok"


def test_a_container_that_somebody_removed_is_missing_and_drift(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    node.apply(1)
    node.containers()[0].remove(force=True)
    seen = node.engine.observe(node.environment_id)
    assert (seen.services["web"].state, seen.app.code, seen.drift.state) == ("missing", "app.missing", "warning")


def test_a_container_of_another_image_under_our_labels_is_drift(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    node.apply(1)
    (ours,) = node.containers()
    other = page("other")
    node.docker.images.pull(other)
    ours.remove(force=True)
    forged = node.docker.containers.run(other, detach=True, labels=ours.labels, ports={})
    try:
        seen = node.engine.observe(node.environment_id)
        assert seen.drift.state == "warning"
        assert other.partition("@")[2] in seen.drift.summary
        assert seen.services["web"].observed_digest == other.partition("@")[2]
    finally:
        forged.remove(force=True)


def test_a_stranger_in_the_environments_network_is_drift(node: Node, page: Page) -> None:
    image = page("one")
    node.offer(1, web(image))
    node.apply(1)
    network = f"sam-{node.environment_id.replace('-', '')[:12]}_default"
    stranger = node.docker.containers.run(image, detach=True, network=network)
    try:
        seen = node.engine.observe(node.environment_id)
        assert stranger.name in seen.drift.summary
    finally:
        stranger.remove(force=True)


def test_a_route_that_the_proxy_lost_is_told(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    node.apply(1)
    node.engine.hands.proxy.runtime.tell(["set server r001/a state maint"])
    assert node.engine.observe(node.environment_id).routes.state == "failed"


# Docker's library does not close the socket on which it could not connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_does_not_answer_is_told_of_the_node(node: Node, page: Page) -> None:
    node.offer(1, web(page("one")))
    node.docker_host = f"unix://{node.root}/nobody.sock"
    seen = node.new_engine().observe(node.environment_id)
    assert (seen.node.state, seen.node.code) == ("failed", "docker.unreachable")
    assert (seen.app.state, seen.drift.state) == ("unknown", "unknown")


def test_log_lines_come_in_order_and_page_by_page(node: Node, program: Callable[..., str]) -> None:
    words = "for i in 1 2 3 4 5; do echo out $i; echo err $i >&2; done; exec sleep 60"
    talk = f"worker:\n  image: {program('/bin/sh', '-c', words)}\n  stop_grace_period: 1s\n"
    node.offer(1, "services:\n  " + talk.replace("\n", "\n  ") + "\nx-sam-worker: true\n")
    assert node.apply(1).outcome == "live"
    read = node.engine.read_logs
    every, _ = read(node.environment_id, None, None, 100, None)
    assert {(line.service, line.stream) for line in every} == {("worker", "stdout"), ("worker", "stderr")}
    assert [line.text for line in every if line.stream == "stdout"] == [f"out {n}" for n in range(1, 6)]
    assert [line.at for line in every] == sorted(line.at for line in every)
    newest, _ = read(node.environment_id, "worker", None, 3, None)
    assert newest == every[-3:]
    pages, cursor = [], None
    since = every[0].at
    for _ in range(4):
        page, cursor = read(node.environment_id, None, since, 3, cursor)
        pages += page
    assert pages == every
    assert read(node.environment_id, None, None, 3, cursor)[0] == []
    assert read(node.environment_id, "nobody", None, 3, None) == ([], None)


def test_clean_up_keeps_the_current_and_the_previous_image_and_takes_older_ones(node: Node, page: Page) -> None:
    references = [page(f"{node.environment_id} {n}") for n in range(1, 4)]
    foreign = page(f"{node.environment_id} foreign")
    node.docker.images.pull(foreign)
    for seq, reference in enumerate(references, start=1):
        node.offer(seq, web(reference))
        assert node.apply(seq).outcome == "live"
        node.tidied()
    here = {r for image in node.docker.images.list() for r in image.attrs["RepoDigests"]}
    assert references[0] not in here
    assert {references[1], references[2], foreign} <= here
    for reference in (*references[1:], foreign):
        node.docker.images.remove(reference, force=True)


def test_the_name_of_a_service_leads_to_the_old_container_until_the_switch(node: Node, page: Page) -> None:
    asks = "asks:\n  image: {image}\n  stop_grace_period: 1s\n  command: [sh, -c, '{script}']\n"
    script = "while true; do wget -q -O - http://web:8080/; sleep 0.1; done"
    others = asks.format(image=page("asker"), script=script)
    node.offer(1, web(page("one"), others=others))
    node.apply(1)
    sick = web(
        page("two"),
        more='command: [sh, -c, "echo two >/tmp/index.html; httpd -p 8080 -h /tmp; sleep 60"]',
        others=others,
    )
    node.offer(2, sick, changed_in={"asks": 1})
    assert node.apply(2).outcome == "failed"
    node.offer(3, web(page("three"), others=others), changed_in={"asks": 1})
    assert node.apply(3).outcome == "live"
    node.tidied()
    time.sleep(0.5)
    said = node.containers("asks")[0].logs().decode().splitlines()
    assert "two" not in said
    assert {"one", "three"} <= set(said)
    assert said[-1] == "three"


def test_a_first_volume_gets_what_the_image_has_there_with_owner_and_mode_and_never_again(
    node: Node, registry_host: str
) -> None:

    files = images.Files(files={"var/store/seed.txt": (b"seed\n", 0o640)}, directories={"var/store": 0o750})
    built = images.image([images.programs(), files], Cmd=images.HTTPD, User="65532:65532")
    reference = images.push(registry_host, "acme/filled", built, "filled")
    path = node.volume("store")
    document = web(reference, check="", more="volumes: [store:/var/store]", top="volumes: {store: {}}")
    node.offer(1, document, volumes={"store": path})
    node.apply(1)
    assert (path / "data" / "seed.txt").read_text() == "seed\n"
    assert (path / "data").stat().st_mode & 0o777 == 0o750
    assert (path / "data" / "seed.txt").stat().st_mode & 0o777 == 0o640
    (path / "data" / "seed.txt").unlink()
    node.stop(2)
    node.offer(3, document, volumes={"store": path})
    node.apply(3)
    assert list((path / "data").iterdir()) == []
    assert node.docker.volumes.list(filters={"label": f"sam.environment={node.environment_id}"}) == []

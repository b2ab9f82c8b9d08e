"""The held heartbeat, over a real server, with the client of the real agent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn
from django.db import connection

from deployments.models import Environment, Release
from deployments.services import logs, releases
from nodeagent.client import Client, Signer
from nodeagent.wire.heartbeat import Reply
from nodeagent.wire.keyset import Keyset
from sam_project.asgi import application
from scripts import ports
from tests.node_client import SimulatedNode, environment_report, reply_from
from tests.situations import BY

PICK_UP_SECONDS = 0.2


@pytest.fixture
def control_url(_installation: None) -> Iterator[str]:
    """The control plane's own ASGI application, in a thread of this process and on this test's database."""
    (port,) = ports.choose()
    server = uvicorn.Server(uvicorn.Config(application, port=port, lifespan="off", log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    server.force_exit = True
    thread.join(timeout=20)


class Holder:
    """Sends heartbeats as the agent does, from another thread, and keeps when each reply came."""

    def __init__(self, url: str, node: SimulatedNode, keyset: Keyset) -> None:
        self._node, self._keyset = node, keyset
        self._client = Client(url, signer=Signer(node.key, node.node_id, node.generation))
        self._pool = ThreadPoolExecutor(1)

    def hold(self, *reports: object, wait: int = 20) -> Callable[[], tuple[Reply, float]]:
        """Begin to hold one; the answer waits for its reply and the moment it came."""
        beat = self._node.heartbeat_of(*reports)  # type: ignore[arg-type]
        future = self._pool.submit(self._send, beat, wait)
        return lambda: future.result(timeout=wait + 10)

    def _send(self, beat: object, wait: int) -> tuple[Reply, float]:
        raw = self._client.heartbeat(beat, wait_seconds=wait, overtaken=threading.Event())  # type: ignore[arg-type]
        return reply_from(raw, self._keyset), time.monotonic()


@pytest.fixture
def holder(control_url: str, node: SimulatedNode, keyset: Keyset) -> Holder:
    return Holder(control_url, node, keyset)


def _held(environment: Environment) -> None:
    """Until the heartbeat has arrived and, a little later, waits."""
    ends = time.monotonic() + 10
    while not Environment.objects.filter(pk=environment.pk, observation__isnull=False).exists():
        assert time.monotonic() < ends
        time.sleep(0.01)
    time.sleep(0.3)


def test_a_release_reaches_a_node_that_holds_a_heartbeat_within_200_ms(
    holder: Holder, environment: Environment, offer: Callable[[], Release]
) -> None:
    reply = holder.hold(environment_report(environment.pk))
    _held(environment)
    release = offer()
    offered = time.monotonic()
    told, at = reply()
    assert told.environments[0].pending_release_seq == release.sequence
    assert at - offered < PICK_UP_SECONDS


def test_a_heartbeat_is_held_for_as_long_as_there_is_nothing_new(
    holder: Holder, environment: Environment, offer: Callable[[], Release]
) -> None:
    offer()
    begun = time.monotonic()
    told, at = holder.hold(environment_report(environment.pk, max_seen_seq=1), wait=1)()
    assert told.environments[0].pending_release_seq == 1
    assert 0.9 <= at - begun < 3


def test_a_cancellation_and_a_question_for_logs_are_news(
    holder: Holder, environment: Environment, deliver: Callable[[], object]
) -> None:
    deliver()
    environment.refresh_from_db()
    seen = environment_report(environment.pk, max_seen_seq=1)
    reply = holder.hold(seen)
    _held(environment)
    asked = time.monotonic()
    query = logs.ask(environment=environment)
    told, at = reply()
    assert [each.id for each in told.log_requests] == [str(query.pk)]
    assert at - asked < PICK_UP_SECONDS
    query.delete()
    reply = holder.hold(seen)
    time.sleep(0.5)
    releases.cancel(release=Release.objects.get(), by=BY)
    assert reply()[0].environments[0].cancel_seq == 1


def test_a_node_that_cannot_act_on_the_news_is_not_told_in_a_loop(
    holder: Holder, environment: Environment, offer: Callable[[], Release]
) -> None:
    offer()
    begun = time.monotonic()
    for _ in range(3):
        assert holder.hold(environment_report(environment.pk))()[0].environments[0].pending_release_seq == 1
    assert time.monotonic() - begun >= 2


def test_more_heartbeats_are_held_than_there_are_database_connections(
    control_url: str, node: SimulatedNode, environment: Environment, offer: Callable[[], Release]
) -> None:
    pool_size = connection.settings_dict["OPTIONS"]["pool"]["max_size"]
    client = Client(control_url, signer=Signer(node.key, node.node_id, node.generation))
    beats = [node.heartbeat_of(environment_report(environment.pk), boot_id=f"boot-{n}") for n in range(pool_size + 10)]
    with ThreadPoolExecutor(len(beats)) as pool:
        held = [pool.submit(client.heartbeat, beat, wait_seconds=3, overtaken=threading.Event()) for beat in beats]
        _held(environment)
        begun = time.monotonic()
        release = offer()
        assert client.fetch(str(environment.pk), release.sequence).envelope
        assert time.monotonic() - begun < 5
        assert all(each.exception() is None for each in held)


def test_a_node_that_hangs_up_leaves_nothing_behind(
    control_url: str, holder: Holder, node: SimulatedNode, environment: Environment
) -> None:
    client = Client(control_url, signer=Signer(node.key, node.node_id, node.generation))
    beat = node.heartbeat_of(environment_report(environment.pk))
    overtaken = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        held = pool.submit(client.heartbeat, beat, wait_seconds=20, overtaken=overtaken)
        _held(environment)
        overtaken.set()
        client.interrupt()
        assert held.exception(timeout=5) is not None
    assert holder.hold(environment_report(environment.pk), wait=0)()[0].nonce

"""The route proxy: switched under load without a lost request, and without a reload that others would feel."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nodeagent import routes
from nodeagent.routes import Proxy
from scripts import ports
from tests import nodes
from tests.integration.nodeagent.documents import web
from tests.nodes import Node

ONE, OTHER = "environment-one", "environment-other"
pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """A running route proxy of its own."""
    root = Path(tempfile.mkdtemp(prefix="samp"))
    first, last = ports.choose_block(8, first=20000, last=21000)
    routes.prepare(root, range(first, last + 1), backends=4)
    made = Proxy(root)
    made.ensure_running()
    yield made
    nodes.stop_proxy(root)
    shutil.rmtree(root)


class App(BaseHTTPRequestHandler):
    """Answers with the port it listens on, or, asked to upgrade, echoes bytes for as long as the connection lives."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):
            self._echo()
            return
        time.sleep(0.005)
        body = str(self.server.server_address[1]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _echo(self) -> None:
        self.send_response(101)
        self.send_header("Upgrade", "echo")
        self.send_header("Connection", "Upgrade")
        self.end_headers()
        self.close_connection = True
        while said := self.connection.recv(100):
            self.connection.sendall(said)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def app() -> Iterator[Callable[[], int]]:
    """Starts apps on loopback ports."""
    servers: list[ThreadingHTTPServer] = []

    def start() -> int:
        server = ThreadingHTTPServer(("127.0.0.1", 0), App)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class Load:
    """About 80 requests per second, half over kept connections, half over new ones; what was lost is counted."""

    def __init__(self, port: int):
        self._port = port
        self._over = threading.Event()
        self.answers: list[str] = []
        self.lost: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=(kept,)) for kept in (True, True, False, False)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _run(self, kept: bool) -> None:
        connection = self._connect()
        while not self._over.wait(0.05):
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                body = answer.read().decode()
                (self.answers if answer.status == 200 else self.lost).append(body)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()
            if not kept:
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)


def fetch(port: int, path: str = "/") -> tuple[int, str]:
    return nodes.get(f"http://127.0.0.1:{port}", path)


def upgraded(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    assert head.startswith(b"HTTP/1.1 101")
    return connection


def echoes(connection: socket.socket) -> bool:
    with suppress(OSError):
        connection.sendall(b"ping")
        return connection.recv(4) == b"ping"
    return False


def test_switches_under_load_lose_no_request(proxy: Proxy, app: Callable[[], int]) -> None:
    port, targets = proxy.table().ports.start, [app(), app()]
    proxy.switch(ONE, {f"{port}/": targets[0]})
    with Load(port) as load:
        for number in range(1, 11):
            time.sleep(0.2)
            proxy.drain(proxy.switch(ONE, {f"{port}/": targets[number % 2]}))
    assert load.lost == []
    assert set(load.answers) == {str(target) for target in targets}


def test_a_switch_closes_no_connection_of_another_environment(proxy: Proxy, app: Callable[[], int]) -> None:
    mine, theirs = proxy.table().ports[0], proxy.table().ports[1]
    proxy.switch(ONE, {f"{mine}/": app()})
    proxy.switch(OTHER, {f"{theirs}/": app()})
    with upgraded(theirs) as connection:
        for _ in range(5):
            proxy.drain(proxy.switch(ONE, {f"{mine}/": app()}))
        proxy.drain(proxy.switch(ONE, {}))
        assert echoes(connection)


def test_an_upgraded_connection_of_the_old_release_ends_when_the_drain_does(
    proxy: Proxy, app: Callable[[], int]
) -> None:
    port = proxy.table().ports.start
    proxy.switch(ONE, {f"{port}/": app()})
    with upgraded(port) as connection:
        closing = proxy.switch(ONE, {f"{port}/": app()})
        assert echoes(connection)
        began = time.monotonic()
        proxy.drain(closing, 0.5)
        assert 0.4 < time.monotonic() - began < 2
        assert not echoes(connection)


def test_the_longest_path_wins_and_a_prefix_ends_at_a_slash(proxy: Proxy, app: Callable[[], int]) -> None:
    port, root, api = proxy.table().ports.start, app(), app()
    proxy.switch(ONE, {f"{port}/": root, f"{port}/api/": api})
    found = {path: int(fetch(port, path)[1]) for path in ("/", "/api", "/api/x?y=/z", "/apix", "/x/api")}
    assert found == {"/": root, "/api": api, "/api/x?y=/z": api, "/apix": root, "/x/api": root}


def test_an_address_without_a_release_answers_404(proxy: Proxy, app: Callable[[], int]) -> None:
    port = proxy.table().ports.start
    assert fetch(port)[0] == 404
    proxy.drain(proxy.switch(ONE, {f"{port}/": app()}))
    proxy.drain(proxy.switch(ONE, {}))
    assert fetch(port)[0] == 404


def test_a_killed_proxy_comes_back_with_the_newest_targets(proxy: Proxy, app: Callable[[], int]) -> None:
    port, last = proxy.table().ports.start, app()
    proxy.switch(ONE, {f"{port}/": app()})
    proxy.drain(proxy.switch(ONE, {f"{port}/": last}))
    os.kill(int((proxy.directory / "haproxy.pid").read_text()), signal.SIGKILL)
    until = time.monotonic() + 10
    while time.monotonic() < until:
        with suppress(OSError):
            if fetch(port) == (200, str(last)):
                break
        time.sleep(0.05)
    assert fetch(port) == (200, str(last))
    assert proxy.differences(ONE) == []


def test_a_proxy_whose_supervisor_was_killed_is_taken_over_without_a_gap(proxy: Proxy, app: Callable[[], int]) -> None:
    port, target = proxy.table().ports.start, app()
    proxy.switch(ONE, {f"{port}/": target})
    os.kill(int((proxy.directory / "supervisord.pid").read_text()), signal.SIGKILL)
    before = (proxy.directory / "haproxy.pid").read_text()
    with Load(port) as load:
        proxy.start_supervisor()
        until = time.monotonic() + 10
        while (proxy.directory / "haproxy.pid").read_text() == before and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(1)
    assert load.lost == []
    assert (proxy.directory / "haproxy.pid").read_text() != before


def test_differences_between_proxy_and_table_are_told(proxy: Proxy, app: Callable[[], int]) -> None:
    port = proxy.table().ports.start
    proxy.switch(ONE, {f"{port}/": app()})
    proxy.runtime.tell(["set server r001/a state maint"])
    assert proxy.differences(ONE)
    proxy.runtime.tell([f"del map {proxy.directory / 'places.map'} {port}/"])
    assert "is not served" in proxy.differences(ONE)[0]


def test_sockets_and_files_of_the_proxy_are_its_owners_alone(proxy: Proxy) -> None:
    assert proxy.directory.stat().st_mode & 0o777 == 0o700
    for name in ("admin.sock", "haproxy.cfg", "places.map", "table.json"):
        assert (proxy.directory / name).stat().st_mode & 0o777 == 0o600, name


def test_releases_under_load_lose_no_request(node: Node, page: Callable[[str], str]) -> None:
    node.offer(1, web(page("one")))
    port = int(node.url(node.apply(1)).rstrip("/").rpartition(":")[2])
    with Load(port) as load:
        for seq, text in ((2, "two"), (3, "three")):
            node.offer(seq, web(page(text)))
            assert node.apply(seq).outcome == "live"
            node.tidied()
    assert load.lost == []
    assert len(load.answers) > 200
    assert set(load.answers) == {"one\n", "two\n", "three\n"}

"""A control plane in a few lines, for tests of the agent: real HTTP on loopback, real signatures, and faults on order.

It keeps the rules of the node API: requests must be signed, counters grow, a heartbeat is held until there is news.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nacl.signing

from nodeagent.client import PREFIX
from nodeagent.wire import base64text, enrol, envelope, requests
from nodeagent.wire.decode import decode, encode
from nodeagent.wire.enrol import EnrolAnswer, EnrolRequest, Placement
from nodeagent.wire.envelope import PAYLOAD_HEARTBEAT, PAYLOAD_RECEIPT
from nodeagent.wire.errors import WireError
from nodeagent.wire.events import Event, EventBatch
from nodeagent.wire.fetch import Payload, pack
from nodeagent.wire.heartbeat import EnvironmentOrder, Heartbeat, LogRequest, Reply
from nodeagent.wire.logs import LogAnswer
from nodeagent.wire.receipt import Receipt
from tests import signed
from tests.signed import ENVIRONMENT, HOST, NODE, RELEASE


@dataclass
class ControlPlane:
    """What it wants of the node, and all that it was told. Change it through `wanting`, which wakes held heartbeats."""

    url: str = ""
    pending_seq: int = 0
    pending_digest: str = ""
    cancel_seq: int = 0
    generation: int = 1
    keyset_version: int = 1
    apply_deadline_s: int = 900
    log_requests: tuple[LogRequest, ...] = ()
    payloads: dict[int, Payload] = field(default_factory=dict)
    keysets: dict[int, bytes] = field(default_factory=dict)
    reply_key: nacl.signing.SigningKey = RELEASE
    reply_changes: dict[str, Any] = field(default_factory=dict)
    is_down: bool = False
    token: str = "T" * 43
    node_key: bytes = signed.public(signed.NODE_KEY)

    heartbeats: list[Heartbeat] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    receipts: list[Receipt] = field(default_factory=list)
    fetched: list[tuple[int, float]] = field(default_factory=list)
    logs: list[LogAnswer] = field(default_factory=list)
    enrolments: list[EnrolRequest] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def wanting(self) -> Iterator[None]:
        """Change what is wanted; held heartbeats are answered at once."""
        with self.changed:
            yield
            self.changed.notify_all()

    def offer(self, seq: int, payload: Payload) -> None:
        """A release (or order) is pending from now on."""
        with self.wanting():
            self.payloads[seq] = payload
            self.pending_seq = seq

    def wait_for(self, condition: Callable[[], object], *, seconds: float = 10.0) -> None:
        """Until something was told; fails the test after so many seconds."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout=seconds), (self.faults, self.events, self.receipts)

    # What nodes call

    def enrol(self, _: Mapping[str, str], body: bytes) -> bytes:
        request = decode(EnrolRequest, body)
        enrol.verify_proof(request)
        if request.token != self.token:
            raise PermissionError
        if self.enrolments and self.enrolments[0] != request:
            raise PermissionError
        self.enrolments.append(request)
        self.node_key = base64text.to_bytes(request.ed25519_public)
        return encode(EnrolAnswer(NODE, 1, (HOST,), int(time.time()), (Placement(ENVIRONMENT, 1),)))

    def heartbeat(self, query: Mapping[str, str], body: bytes) -> bytes:
        heartbeat = decode(Heartbeat, body)
        with self.changed:
            if self.heartbeats and heartbeat.counter <= self.heartbeats[-1].counter:
                raise ValueError("a counter that does not grow")
            self.heartbeats.append(heartbeat)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.is_down or self._is_news(heartbeat), timeout=float(query["wait"]))
            if self.is_down:
                raise ConnectionError
            reply = encode(self._reply(heartbeat.nonce))
        return envelope.sign(PAYLOAD_HEARTBEAT, reply, self.reply_key)

    def _is_news(self, heartbeat: Heartbeat) -> bool:
        seen = {report.environment_id: report for report in heartbeat.environments}.get(ENVIRONMENT)
        return (
            self.pending_seq > (seen.max_seen_seq if seen else 0)
            or bool(self.log_requests)
            or self.keyset_version > heartbeat.keyset_version
            or self.cancel_seq > 0
        )

    def _reply(self, nonce: str) -> Reply:
        order = EnvironmentOrder(
            ENVIRONMENT, self.generation, "run", self.pending_seq, self.pending_digest, self.cancel_seq
        )
        members: dict[str, Any] = {
            "nonce": nonce,
            "server_time": int(time.time()),
            "environments": (order,),
            "keyset_version": self.keyset_version,
            "deploy_public_key": base64text.to_text(signed.public(RELEASE)),
            "next_heartbeat_s": 0,
            "apply_deadline_s": self.apply_deadline_s,
            "log_requests": self.log_requests,
        }
        return Reply(**members | self.reply_changes)

    def fetch(self, seq: int) -> bytes:
        with self.changed:
            self.fetched.append((seq, time.monotonic()))
            self.changed.notify_all()
        return encode(pack(self.payloads[seq]))

    def take_events(self, seq: int, body: bytes) -> bytes:
        batch = decode(EventBatch, body)
        with self.changed:
            known = {event.id for event in self.events}
            self.events += [event for event in batch.events if event.id not in known]
            if batch.receipt is not None:
                keys = {envelope.keyid(self.node_key): self.node_key}
                raw = base64text.to_bytes(batch.receipt)
                payload = envelope.open_envelope(raw, payload_type=PAYLOAD_RECEIPT, keys=keys)
                receipt = decode(Receipt, payload)
                assert receipt.seq == seq
                self.receipts.append(receipt)
                if self.pending_seq == seq:
                    self.pending_seq = 0
            self.changed.notify_all()
        return b""

    def take_logs(self, body: bytes) -> bytes:
        with self.changed:
            answer = decode(LogAnswer, body)
            self.logs.append(answer)
            self.log_requests = tuple(each for each in self.log_requests if each.id != answer.request_id)
            self.changed.notify_all()
        return b""


class _Handler(BaseHTTPRequestHandler):
    plane: ControlPlane

    def do_POST(self) -> None:
        self._serve()

    def do_GET(self) -> None:
        self._serve()

    def log_message(self, *_: object) -> None:
        """Tests are quiet."""

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            status, answer = 200, self._answer(body)
        except ConnectionError:
            return
        except (KeyError, LookupError):
            status, answer = 404, b'{"code":"release.not_found","detail":"No such thing."}'
        except PermissionError:
            status, answer = 403, b'{"code":"enrol.keys","detail":"Refused."}'
        except (WireError, ValueError, AssertionError) as error:
            self.plane.faults.append(str(error))
            status, answer = 422, b'{"code":"wire.value","detail":"Wrong."}'
        try:
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)
        except OSError:
            # The agent hung up to say something new.
            return

    def _answer(self, body: bytes) -> bytes:
        plane, url = self.plane, urlsplit(self.path)
        if plane.is_down:
            raise ConnectionError
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        call = url.path.removeprefix(PREFIX).split("/")[1:]
        if call == ["enrol"]:
            return plane.enrol(query, body)
        requests.verify_request(
            plane.node_key,
            headers=dict(self.headers.items()),
            method=self.command,
            path_with_query=self.path,
            body=body,
            now=int(time.time()),
        )
        match call:
            case ["heartbeat"]:
                return plane.heartbeat(query, body)
            case ["environments", _, "releases", seq]:
                return plane.fetch(int(seq))
            case ["environments", _, "releases", seq, "events"]:
                return plane.take_events(int(seq), body)
            case ["environments", _, "logs"]:
                return plane.take_logs(body)
            case ["keyset", version]:
                return plane.keysets[int(version)]
        raise LookupError(self.path)


@contextmanager
def running() -> Iterator[ControlPlane]:
    """A control plane that listens on loopback until the test ends."""
    plane = ControlPlane()
    handler = type("Handler", (_Handler,), {"plane": plane})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    plane.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield plane
    finally:
        with plane.wanting():
            plane.is_down = True
        server.shutdown()
        server.server_close()
        thread.join(5)

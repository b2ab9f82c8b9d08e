"""A small HTTP server on loopback, and faults that can be ordered for the calls it answers."""

from __future__ import annotations

import json
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

ANY_CALL = "*"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body, {} if there is none or if it is no object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def one(self, name: str, default: str = "") -> str:
        return self.query.get(name, [default])[0]


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(status: int, value: Any, **headers: str) -> Response:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return Response(status, json.dumps(value).encode(), {"Content-Type": "application/json", **named})

    def json(self) -> Any:
        return json.loads(self.body)


Answer = Response | None
"""None: the connection is closed without an answer."""


class Loopback:
    """Serves `answer` on a free port of 127.0.0.1 until closed."""

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30
            wbufsize = -1  # one segment per answer: two would wait 40 ms for each other on a kept connection

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def _answer(self) -> None:
                parts = urlsplit(self.path)
                # The body is read for every method: Scaleway's SDK sends one with GET and DELETE, on kept connections.
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                query = parse_qs(parts.query, keep_blank_values=True)
                response = answer(Request(self.command, parts.path, query, dict(self.headers), body))
                if response is None:
                    self.close_connection = True
                    return
                self.send_response(response.status)
                for name, text in response.headers.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(response.body)))
                self.end_headers()
                self.wfile.write(response.body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
                return

        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            setattr(Handler, f"do_{method}", Handler._answer)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)


@dataclass(slots=True)
class Fault:
    kind: str
    on: str
    times: int
    after: int
    arguments: dict[str, Any]


class Faults:
    """Faults in waiting: each strikes `times` calls of the name it was ordered for, once `after` of them passed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[Fault] = []

    def inject(self, kind: str, *, on: str = ANY_CALL, times: int = 1, after: int = 0, **arguments: Any) -> None:
        with self._lock:
            self._waiting.append(Fault(kind, on, times, after, arguments))

    def clear(self) -> None:
        with self._lock:
            self._waiting.clear()

    def strike(self, call: str, kinds: frozenset[str]) -> Fault | None:
        """The oldest fault of one of these kinds that waits for this call; counted as struck."""
        with self._lock:
            for fault in self._waiting:
                if fault.kind in kinds and fault.on in (call, ANY_CALL):
                    if fault.after > 0:
                        fault.after -= 1
                        continue
                    fault.times -= 1
                    if fault.times <= 0:
                        self._waiting.remove(fault)
                    return fault
        return None


class Stateful:
    """What both fakes share: a lock around the state, a log of calls, and the faults of the transport.

    A subclass names each request's call (`call_of`), answers it (`serve`), and refuses in its vendor's words
    (`refusal`). Faults of the transport: `hang` (no answer for `seconds`, nothing done), `reset` (closed, nothing
    done), `lost` (done, then closed), `html` (a proxy's page of `status`, nothing done; `html_after`: done),
    `truncated` (done, half the answer), `additions` (members and values of tomorrow), `refuse` (`status`, `code`: the
    vendor's own error).
    """

    BEFORE = frozenset({"hang", "reset", "html", "refuse"})
    AFTER = frozenset({"lost", "html_after", "truncated", "additions"})

    def __init__(self) -> None:
        self.faults = Faults()
        self.calls: list[str] = []
        self.crashes: list[str] = []
        self.lock = threading.RLock()
        self._closing = threading.Event()
        self._loopback = Loopback(self._answer)

    @property
    def url(self) -> str:
        return self._loopback.url

    def close(self) -> None:
        self._closing.set()
        self._loopback.close()

    def call_of(self, request: Request) -> str:
        raise NotImplementedError

    def serve(self, call: str, request: Request) -> Response:
        raise NotImplementedError

    def refusal(self, status: int, code: str) -> Response:
        raise NotImplementedError

    def additions(self, response: Response) -> Response:
        """The answer with members and enumeration values that nobody knows yet."""
        raise NotImplementedError

    def _answer(self, request: Request) -> Answer:
        call = self.call_of(request)
        with self.lock:
            self.calls.append(call)
        before = self.faults.strike(call, self.BEFORE)
        if before is not None:
            return self._instead(before)
        after = self.faults.strike(call, self.AFTER)
        with self.lock:
            try:
                response = self.serve(call, request)
            except Exception:
                self.crashes.append(traceback.format_exc())
                raise
        return response if after is None else self._spoiled(after, response)

    def _instead(self, fault: Fault) -> Answer:
        if fault.kind == "hang":
            self._closing.wait(fault.arguments.get("seconds", 5))
            return None
        if fault.kind == "reset":
            return None
        if fault.kind == "html":
            return _page(fault.arguments.get("status", 502))
        return self.refusal(fault.arguments["status"], fault.arguments["code"])

    def _spoiled(self, fault: Fault, response: Response) -> Answer:
        if fault.kind == "lost":
            return None
        if fault.kind == "html_after":
            return _page(fault.arguments.get("status", 502))
        if fault.kind == "additions":
            return self.additions(response)
        return Response(response.status, response.body[: len(response.body) // 2], response.headers)


def _page(status: int) -> Response:
    return Response(status, b"<html><body><h1>Bad gateway</h1></body></html>", {"Content-Type": "text/html"})

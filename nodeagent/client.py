"""Calls the control plane: signed requests, bounded answers, a time limit on everything, no redirect followed.

TLS is for confidentiality only; what an answer says is trusted for its signature, by those who read it.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import nacl.signing

from .wire.decode import Message, decode, encode
from .wire.enrol import EnrolAnswer, EnrolRequest
from .wire.envelope import MAX_ENVELOPE_BYTES
from .wire.errors import WireError
from .wire.events import EventBatch
from .wire.fetch import MAX_FETCH_BYTES, Fetched
from .wire.heartbeat import Heartbeat
from .wire.logs import LogAnswer
from .wire.requests import sign_request

PREFIX = "/api/node/v1"
TIMEOUT_SECONDS = 20.0
HELD_MARGIN_SECONDS = 10.0
MAX_REFUSAL_BYTES = 65_536
_RETRYABLE = frozenset({401, 408, 409, 425, 429})
"""Refusals below 500 that time may cure; 401 because a clock that is set right makes the signature count again."""


class ClientError(Exception):
    """A call that brought no answer to trust.

    `status` is the HTTP status, 0 without one; `code` is that of the control plane's problem where it gave one, else
    `control.unreachable` (also when the call was interrupted), `control.refused` or `control.answer`.
    """

    def __init__(self, code: str, why: str, *, status: int = 0, retryable: bool = True):
        super().__init__(code, why, status)
        self.code = code
        self.why = why
        self.status = status
        self.retryable = retryable

    def __str__(self) -> str:
        return f"{self.why} ({self.code}{f', HTTP {self.status}' if self.status else ''})"


@dataclass(frozen=True, slots=True)
class Signer:
    """Who signs the requests."""

    key: nacl.signing.SigningKey
    node_id: str
    generation: int

    def headers(self, method: str, path: str, body: bytes) -> dict[str, str]:
        """The headers that prove one request, made now."""
        nonce = secrets.token_urlsafe(24)
        return sign_request(self.key, self.node_id, self.generation, method, path, body, int(time.time()), nonce)


class Client:
    """One control plane. Each call is one connection; calls may come from several threads."""

    def __init__(self, control_url: str, *, ca: str | None = None, signer: Signer | None = None):
        self._url = urlsplit(control_url)
        self._signer = signer
        self._tls = ssl.create_default_context(cadata=ca) if self._url.scheme == "https" else None
        self._held: http.client.HTTPConnection | None = None
        self._holding = threading.Lock()

    def enrol(self, request: EnrolRequest) -> EnrolAnswer:
        """Become a node. Not signed by a node, since there is none yet: the request carries its own proof."""
        return self._decoded(EnrolAnswer, self._call("POST", "/enrol", encode(request), limit=1024 * 1024))

    def heartbeat(self, heartbeat: Heartbeat, *, wait_seconds: int, overtaken: threading.Event) -> bytes:
        """The reply's envelope, not yet opened. Held open up to `wait_seconds`.

        Given up as soon as `overtaken` is set and `interrupt` called, in this order, whether it was sent yet or not.
        """
        path = f"/heartbeat?wait={wait_seconds}"
        timeout = wait_seconds + HELD_MARGIN_SECONDS
        return self._call("POST", path, encode(heartbeat), limit=MAX_ENVELOPE_BYTES, timeout=timeout, held=overtaken)

    def interrupt(self) -> None:
        """Give up the heartbeat that is held, if one is, so that a newer one can be sent."""
        with self._holding:
            connection = self._held
            if connection is not None and connection.sock is not None:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def fetch(self, environment_id: str, seq: int) -> Fetched:
        """A payload, nothing of it trusted yet."""
        raw = self._call("GET", f"/environments/{environment_id}/releases/{seq}", limit=MAX_FETCH_BYTES)
        return self._decoded(Fetched, raw)

    def keyset(self, version: int) -> bytes:
        """A keyset's envelope, not yet opened."""
        return self._call("GET", f"/keyset/{version}", limit=MAX_ENVELOPE_BYTES)

    def send_events(self, environment_id: str, seq: int, batch: EventBatch) -> None:
        """Deliver events, and with the last of them the receipt."""
        self._call("POST", f"/environments/{environment_id}/releases/{seq}/events", encode(batch))

    def send_logs(self, environment_id: str, answer: LogAnswer) -> None:
        """Deliver redacted lines that were asked for."""
        self._call("POST", f"/environments/{environment_id}/logs", encode(answer))

    def _decoded(self, cls: type[Message], raw: bytes) -> Message:
        try:
            return decode(cls, raw)
        except WireError as error:
            raise ClientError("control.answer", f"The answer is not a {cls.__name__}: {error}") from None

    def _call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        limit: int = MAX_REFUSAL_BYTES,
        timeout: float = TIMEOUT_SECONDS,
        held: threading.Event | None = None,
    ) -> bytes:
        """One exchange. Raises ClientError; answers the body of a 2xx, of at most `limit` bytes."""
        target = f"{self._url.path.rstrip('/')}{PREFIX}{path}"
        headers = {"Content-Type": "application/json", "Accept": "application/json", "Connection": "close"}
        if self._signer is not None:
            headers |= self._signer.headers(method, target, body)
        connection = self._connection(timeout)
        try:
            with self._interruptible(connection, held):
                connection.request(method, target, body, headers)
                with connection.getresponse() as response:
                    status, content = response.status, response.read(max(limit, MAX_REFUSAL_BYTES) + 1)
        except (OSError, http.client.HTTPException) as error:
            raise ClientError("control.unreachable", f"No answer from {self._url.netloc}: {_reason(error)}") from error
        finally:
            connection.close()
        return _checked(status, content, limit)

    @contextlib.contextmanager
    def _interruptible(
        self, connection: http.client.HTTPConnection, overtaken: threading.Event | None
    ) -> Iterator[None]:
        if overtaken is None:
            yield
            return
        with self._holding:
            self._held = connection
        try:
            # Connected first, looked second: from here on `interrupt` finds a socket to shut down.
            connection.connect()
            if overtaken.is_set():
                raise ConnectionAbortedError("given up before it was sent")
            yield
        finally:
            with self._holding:
                self._held = None

    def _connection(self, timeout: float) -> http.client.HTTPConnection:
        host, port = self._url.hostname or "", self._url.port
        if self._tls is not None:
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=timeout)


def _checked(status: int, content: bytes, limit: int) -> bytes:
    if not 200 <= status < 300:
        code, detail = _problem(content)
        retryable = status >= 500 or status in _RETRYABLE
        raise ClientError(code, detail, status=status, retryable=retryable)
    if len(content) > limit:
        raise ClientError("control.answer", f"The answer is larger than {limit} bytes", status=status)
    return content


def _problem(content: bytes) -> tuple[str, str]:
    """Code and detail of an RFC 9457 answer, as far as it is one."""
    try:
        problem = json.loads(content)
        return str(problem["code"])[:64], str(problem.get("detail", ""))[:500]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "control.refused", "The control plane refused the call"


def _reason(error: Exception) -> str:
    """Why, in the system's words; never the request."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


Connect = Callable[[str, str | None, Signer | None], Client]


def connect(control_url: str, ca: str | None, signer: Signer | None) -> Client:
    """A client of this control plane; what the loop uses outside tests."""
    return Client(control_url, ca=ca, signer=signer)

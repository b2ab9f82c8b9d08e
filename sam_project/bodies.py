"""Bounds every request body before it is spooled.

Django's own limit believes Content-Length, which need not be sent: a chunked body without an end would fill the disk,
and then the memory, before any view could refuse it. Each call has its own, smaller limit; this one is for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

# The largest body that anything takes: a node's log answer of 4 MiB, escaped as JSON.
MAX_BYTES = 8 * 1024 * 1024

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Any], Awaitable[None]]

_REFUSAL = json.dumps(
    {
        "type": "about:blank",
        "title": "Too large",
        "status": 413,
        "code": "request.too_large",
        "detail": f"No call takes a body of more than {MAX_BYTES} bytes.",
        "retryable": False,
    }
).encode()


class _TooLargeError(Exception):
    """Ends the application's reading of a body that has grown beyond the limit."""


def bounded(application: Application, max_bytes: int = MAX_BYTES) -> Application:
    """The application, with a body that ends in a 413 problem as soon as it is too large."""

    async def answer(scope: Any, receive: Receive, send: Send) -> None:
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > max_bytes:
                raise _TooLargeError
            return message

        try:
            await application(scope, counted if scope["type"] == "http" else receive, send)
        except _TooLargeError:
            await _refuse(send)

    return answer


async def _refuse(send: Send) -> None:
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": _REFUSAL})

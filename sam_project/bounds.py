"""Bounds what a request may send, before anything spools it: Django stores a chunked body on disk without a limit."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings


class BodyTooLargeError(Exception):
    """More has come than is taken; carried to the edge, where the answer is 413."""

    code = "request.too_large"
    retryable = False


def bounded(application: Any) -> Any:
    """The ASGI application, with 413 for a request of more than `settings.MAX_BODY_BYTES`, announced or not."""

    async def answer(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        taken = 0
        begun = False

        async def receive_bounded() -> dict[str, Any]:
            nonlocal taken
            message: dict[str, Any] = await receive()
            taken += len(message.get("body", b""))
            if taken > settings.MAX_BODY_BYTES:
                raise BodyTooLargeError
            return message

        async def send_noticed(message: dict[str, Any]) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await application(scope, receive_bounded, send_noticed)
        except BodyTooLargeError:
            if not begun:
                await _refuse(send)

    return answer


async def _refuse(send: Any) -> None:
    problem = {
        "type": "about:blank",
        "title": "Content Too Large",
        "status": 413,
        "code": BodyTooLargeError.code,
        "detail": f"A request has at most {settings.MAX_BODY_BYTES} bytes here. Send less; images go to the registry.",
        "retryable": False,
    }
    headers = [(b"content-type", b"application/problem+json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(problem).encode()})

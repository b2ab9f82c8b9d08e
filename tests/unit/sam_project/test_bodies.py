"""A body without an announced length is bounded while it arrives."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from sam_project.bodies import bounded


def exchange(chunks: list[bytes], max_bytes: int) -> tuple[list[dict[str, Any]], int]:
    """What is sent, and how many chunks were taken, by an application that reads its whole body first."""
    sent: list[dict[str, Any]] = []
    taken = 0

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": chunks[taken - 1], "more_body": taken < len(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(bounded(application, max_bytes)({"type": "http"}, receive, send))
    return sent, taken


def test_a_body_within_the_limit_passes() -> None:
    sent, _ = exchange([b"x" * 50, b"x" * 50], 100)
    assert sent[0]["status"] == 200


def test_an_endless_body_is_refused_as_soon_as_it_is_too_large() -> None:
    sent, taken = exchange([b"x" * 60] * 1000, 100)
    assert sent[0]["status"] == 413
    assert json.loads(sent[1]["body"])["code"] == "request.too_large"
    assert taken == 2

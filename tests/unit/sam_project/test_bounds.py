from __future__ import annotations

import json
from typing import Any

from asgiref.sync import async_to_sync
import pytest_django.fixtures

from sam_project.bounds import bounded


async def _reads_all(scope: dict[str, Any], receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"read"})


def _post(chunks: list[bytes]) -> tuple[int, bytes]:
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": body, "more_body": True} for body in chunks]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async_to_sync(bounded(_reads_all))({"type": "http"}, receive, send)
    return sent[0]["status"], sent[1]["body"]


def test_a_chunked_body_over_the_bound_is_refused_before_it_is_spooled(
    settings: pytest_django.fixtures.SettingsWrapper,
) -> None:
    settings.MAX_BODY_BYTES = 10
    status, body = _post([b"123456", b"789012"])
    assert status == 413 and json.loads(body)["code"] == "request.too_large"


def test_a_body_within_the_bound_is_read(settings: pytest_django.fixtures.SettingsWrapper) -> None:
    settings.MAX_BODY_BYTES = 10
    assert _post([b"12345", b"67890"]) == (200, b"read")

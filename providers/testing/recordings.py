"""Recorded answers of a vendor's API (cassettes of go-vcr and vcrpy), to compare with and to replay."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from providers.testing.loopback import Loopback, Request, Response


@dataclass(frozen=True, slots=True)
class Exchange:
    method: str
    path: str
    action: str
    """The `action` of a request for one, else empty."""
    status: int
    body: str

    def json(self) -> Any:
        """None where there is no body, or none in JSON."""
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None


def exchanges(cassette: Path) -> list[Exchange]:
    """What was asked and answered, in order. The Block API is renamed from v1alpha1 to v1, whose answers it shares."""
    loaded = yaml.load(cassette.read_text(), Loader=yaml.CSafeLoader)
    return [_exchange(entry) for entry in loaded["interactions"]]


def _exchange(entry: dict[str, Any]) -> Exchange:
    request, response = entry["request"], entry["response"]
    url = request.get("url") or request["uri"]
    status = response.get("code") or response["status"]
    body = response.get("body")
    return Exchange(
        method=request["method"],
        path=urlsplit(url).path.replace("/block/v1alpha1/", "/block/v1/"),
        action=_action(str(request.get("body") or "")),
        status=status if isinstance(status, int) else status["code"],
        body=(body.get("string") if isinstance(body, dict) else body) or "",
    )


def _action(body: str) -> str:
    found = re.search(r'"action":\s*"(\w+)"', body)
    return found.group(1) if found else ""


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in an answer, the outer ones first."""
    if isinstance(value, dict):
        yield value
        for member in value.values():
            yield from objects(member)
    elif isinstance(value, list):
        for item in value:
            yield from objects(item)


class Replay:
    """Answers each request with what was recorded for it, in order; the last answer again and again.

    The recordings' tasks keep the path of the server but not which action it was: `action` of the request tells.
    """

    def __init__(self, cassette: Path) -> None:
        self._recorded: dict[tuple[str, str, str], list[Exchange]] = {}
        for exchange in exchanges(cassette):
            self._recorded.setdefault((exchange.method, exchange.path, exchange.action), []).append(exchange)
        self.missed: list[str] = []
        self.asked: list[str] = []
        self._loopback = Loopback(self._answer)

    @property
    def url(self) -> str:
        return self._loopback.url

    def close(self) -> None:
        self._loopback.close()

    def _answer(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.path}")
        recorded = self._recorded.get((request.method, request.path, str(request.json().get("action", ""))))
        if not recorded:
            self.missed.append(f"{request.method} {request.path}")
            return Response.of(404, {"type": "not_found", "message": "not recorded"})
        exchange = recorded.pop(0) if len(recorded) > 1 else recorded[0]
        headers = {"Content-Type": "application/json"} if exchange.body else {}
        return Response(exchange.status, exchange.body.encode(), headers)

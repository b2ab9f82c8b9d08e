"""Bad input at every door: a problem with a code, never a 500, and nothing stored."""

from __future__ import annotations

import json
import random
from typing import Any
from urllib.parse import quote

import pytest
from django.test import Client

from deployments.models import Environment, IdempotentCall, Release
from registry.models import RegistryMint
from tests.callers import Caller, accepted

pytestmark = pytest.mark.django_db

CALLS = 600
TEXTS = [
    "", "0", "1", "-1", "9" * 30, "abc", "null", "true", "[]", "%00", "%0a", "%ff", "%F0%9F%92%A9", "..%2f..", "'; --",
    "${SECRET}", "{{7*7}}", "%25n", "a" * 3000, "production", "1e9", "NaN", "%E2%80%AE", "constructor", "__class__",
]  # fmt: skip
BODIES = [
    b"", b"{}", b"[]", b"null", b'""', b"{", b"\xff\xfe", b"\x00", b'{"to_sequence": -1}', b'{"to_sequence": {}}', b"[" * 5000,  # noqa: E501
    b'{"a": ' * 3000, b"services: {}", b"services:\n  web: null\n", b"services:\n  web:\n    image: x\n", b"a: &a [*a, *a]\n",  # noqa: E501
    b"%YAML 1.1\n---\n", b"services: !!python/object:os.system {}\n", b"? [a]\n", b"\xef\xbb\xbfservices: {}\n", b"x" * 70_000,  # noqa: E501
]  # fmt: skip
MEDIA_TYPES = [
    "application/json",
    "application/yaml",
    "text/plain",
    "",
    "application/json; charset=utf-16",
    "a/b/c",
    "\x7f",
]
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "BREW"]
PARAMETERS = [
    "wait",
    "limit",
    "cursor",
    "dry_run",
    "plan_hash",
    "service",
    "since",
    "order",
    "format",
    "page",
    "\u2028",
]


def document() -> dict[str, Any]:
    response = Client().get("/api/v1/schema/", headers={"Accept": "application/json"})
    return dict(json.loads(response.content))


def one(chance: random.Random, paths: list[str]) -> dict[str, Any]:
    """A request that is wrong in some way, or in several."""
    path = chance.choice(paths).removeprefix("/api/v1")
    for name in ("{slug}", "{sequence}", "{session_id}", "{name}"):
        usual = {"{slug}": "production", "{sequence}": "1"}.get(name, "x")
        path = path.replace(name, usual if chance.random() < 0.7 else chance.choice(TEXTS))
    query = "&".join(f"{chance.choice(PARAMETERS)}={chance.choice(TEXTS)}" for _ in range(chance.randint(0, 3)))
    headers = {"Accept": chance.choice(["*/*", "application/json", "text/html", "x", "a/b;q=z", "\u00e9"])}
    if chance.random() < 0.3:
        headers["Idempotency-Key"] = chance.choice(["k", "", "a b", "x" * 300, "\u00e9", "k" * 255])
    return {
        "method": chance.choice(METHODS),
        "path": f"{path}?{query}" if query else path,
        "data": chance.choice(BODIES),
        "content_type": chance.choice(MEDIA_TYPES),
        "headers": headers,
    }


@pytest.mark.parametrize("seed", range(4))
def test_no_request_whatever_is_answered_with_500(caller: Caller, environment: Environment, seed: int) -> None:
    accepted(environment)
    chance = random.Random(seed)  # noqa: S311 - chosen for repeatability
    paths = list(document()["paths"])
    for _ in range(CALLS // 4):
        request = one(chance, paths)
        response = caller(**request)
        assert response.status_code < 500 or response.status_code in (501, 503), (request, response.content[:500])
        if response.status_code >= 400 and request["method"] != "HEAD":
            assert response["Content-Type"] == "application/problem+json", (request, response["Content-Type"])
            body = json.loads(response.content)
            assert {"type", "title", "status", "code", "detail", "retryable"} <= set(body), request
            assert body["status"] == response.status_code
    assert not Release.objects.exclude(sequence=1).exists()
    assert not IdempotentCall.objects.filter(status__isnull=True).exists()


def test_refused_callers_leave_nothing_behind(environment: Environment) -> None:
    chance = random.Random(7)  # noqa: S311 - chosen for repeatability
    paths = [path for path in document()["paths"] if path not in ("/api/v1/problems/", "/api/v1/schema/")]
    for _ in range(100):
        request = one(chance, paths)
        response = Caller("sam_" + "0" * 12 + "_" + "A" * 43)(**request)
        assert response.status_code in (401, 404, 406), (request, response.status_code)
    assert not Release.objects.exists()
    assert not RegistryMint.objects.exists()
    assert not IdempotentCall.objects.exists()


@pytest.mark.parametrize("query", ["version=%0d%0aX:y", "version=%00", "format=xml", "nonsense=1"])
def test_the_schema_takes_no_parameter_that_it_does_not_know(query: str) -> None:
    answer = Client().get(f"/api/v1/schema/?{query}")
    assert answer.status_code == 400 and answer.json()["code"] == "request.parameter"


@pytest.mark.parametrize("cursor", ["abc", "2026-01-01T00:00:00Z", "\N{GRINNING FACE}", "2026-01-01T00:00:00Z+x"])
def test_a_cursor_that_no_answer_gave_is_the_callers_fault(caller: Caller, cursor: str) -> None:
    answer = caller.get(f"/environments/production/logs/?cursor={quote(cursor)}")
    assert answer.status_code == 400 and answer.json()["code"] == "request.parameter"

"""Refusals: one shape, a stable code, the cure, and nothing that is none of the caller's business."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import OperationalError, ProgrammingError
from django.http import Http404
from rest_framework import exceptions as rest

from agents.errors import NameTaken
from deployments import catalogue
from deployments.api.errors import Refusal, answer, refusal_of
from deployments.errors import GateClosed, NodeUnavailable, NotBuiltYet, NotFound
from registry.errors import KeyUnusable, QuotaExceeded


@pytest.mark.parametrize(
    ("error", "status", "code", "retryable"),
    [
        (GateClosed("shop/production"), 403, "gate.closed", False),
        (NotFound("environment", "x"), 404, "not_found", False),
        (NotBuiltYet("The sessions API"), 501, "feature.later", False),
        (NodeUnavailable("shop/production", "is away"), 503, "node.unavailable", True),
        (NameTaken("project", "shop"), 409, "name.taken", False),
        (QuotaExceeded(limit=10, window_seconds=300, retry_after_seconds=17), 429, "quota.exceeded", True),
        (rest.NotAuthenticated(), 401, "token.missing", False),
        (rest.AuthenticationFailed(), 401, "token.invalid", False),
        (rest.MethodNotAllowed("DELETE"), 405, "request.method", False),
        (rest.NotAcceptable(), 406, "request.not_acceptable", False),
        (rest.UnsupportedMediaType("text/html"), 415, "request.media_type", False),
        (rest.ParseError(), 400, "request.malformed", False),
        (Http404(), 404, "not_found", False),
        (RequestDataTooBig(), 413, "request.too_large", False),
        (SuspiciousOperation(), 400, "request.malformed", False),
        (OperationalError("connection to server at 10.0.0.1 failed"), 503, "database.unavailable", True),
        (ProgrammingError("column does not exist"), 500, "server.error", False),
        (RuntimeError("boom"), 500, "server.error", False),
    ],
)
def test_each_kind_of_error_has_its_status_and_code(
    error: Exception, status: int, code: str, retryable: bool, caplog: pytest.LogCaptureFixture
) -> None:
    refusal = refusal_of(error)
    assert (refusal.status, refusal.code, refusal.retryable) == (status, code, retryable)
    assert refusal.detail
    assert refusal.code in {entry.code for entry in catalogue.entries()}


def test_what_nobody_foresaw_is_logged_under_the_reference_that_the_caller_gets(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        body = json.loads(answer(refusal_of(RuntimeError("password=hunter2 in /srv/secret.py"))).content)
    assert "hunter2" not in json.dumps(body)
    assert "/srv" not in json.dumps(body)
    (record,) = caplog.records
    assert record.getMessage().split()[-1] in body["detail"]
    assert record.exc_info


def test_a_path_on_the_server_is_not_told_to_agents(caplog: pytest.LogCaptureFixture) -> None:
    refusal = refusal_of(KeyUnusable(Path("/var/lib/keys/token.key"), "it cannot be read"))
    assert (refusal.status, refusal.code) == (500, "server.error")
    assert "/var/lib" not in refusal.detail


def test_an_answer_is_problem_json_that_no_cache_keeps() -> None:
    response = answer(Refusal(429, "quota.exceeded", "Wait.", retryable=True, headers={"Retry-After": "17"}))
    assert response["Content-Type"] == "application/problem+json"
    assert response["Cache-Control"] == "no-store"
    assert response["Retry-After"] == "17"
    body = json.loads(response.content)
    assert body["type"].endswith("/api/v1/problems/#quota.exceeded")
    assert body == body | {"status": 429, "code": "quota.exceeded", "detail": "Wait.", "retryable": True}
    assert body["title"]

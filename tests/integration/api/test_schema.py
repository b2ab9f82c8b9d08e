"""The OpenAPI document: valid, complete, true, and to be browsed without anybody else's server."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from drf_spectacular.validation import validate_schema
from jsonschema import Draft202012Validator

from deployments.models import Environment
from tests.callers import Caller, accepted

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    response = Client().get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    return dict(json.loads(response.content))


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    validate_schema(document)


def test_every_call_of_the_contract_is_in_it(document: dict[str, Any]) -> None:
    calls = {
        (method.upper(), path) for path, one in document["paths"].items() for method in one if method != "parameters"
    }
    environment = "/api/v1/environments/{slug}/"
    release = environment + "releases/{sequence}/"
    assert {
        ("GET", "/api/v1/environments/"),
        ("GET", environment),
        ("POST", environment + "registry-credentials/"),
        ("POST", environment + "releases/"),
        ("GET", environment + "releases/"),
        ("GET", release),
        ("GET", release + "manifest/"),
        ("GET", release + "compose/"),
        ("GET", release + "events/"),
        ("POST", release + "cancel/"),
        ("POST", environment + "rollback/"),
        ("GET", environment + "logs/"),
        ("GET", environment + "volumes/"),
        ("GET", "/api/v1/problems/"),
    } <= calls


def test_calls_need_the_token_and_say_how_they_refuse(document: dict[str, Any]) -> None:
    for path, one in document["paths"].items():
        for method, call in one.items():
            if path in ("/api/v1/problems/", "/api/v1/schema/"):
                continue
            assert call["security"] == [{"agentToken": []}], (method, path)
            assert "application/problem+json" in call["responses"]["401"]["content"]


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/environments/", "/api/v1/environments/"),
        ("/environments/production/", "/api/v1/environments/{slug}/"),
        ("/environments/production/releases/", "/api/v1/environments/{slug}/releases/"),
        ("/environments/production/releases/1/", "/api/v1/environments/{slug}/releases/{sequence}/"),
        ("/environments/production/releases/1/events/", "/api/v1/environments/{slug}/releases/{sequence}/events/"),
        ("/environments/production/volumes/", "/api/v1/environments/{slug}/volumes/"),
        ("/problems/", "/api/v1/problems/"),
    ],
)
def test_answers_are_what_the_document_says(
    document: dict[str, Any], caller: Caller, environment: Environment, path: str, template: str
) -> None:
    accepted(environment)
    response = caller.get(path)
    assert response.status_code == 200
    schema = document["paths"][template]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator({**schema, "components": document["components"]}).validate(json.loads(response.content))


def test_the_page_is_served_from_here_alone_and_runs_no_inline_script() -> None:
    page = Client().get("/api/v1/docs/")
    assert page.status_code == 200
    text = page.content.decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', text)
    assert sources
    assert all(source.startswith("/") for source in sources)
    assert not re.search(r"<script(?![^>]*src=)", text)
    assert "<style" not in text
    assert "default-src 'self'" in page["Content-Security-Policy"]
    for source in sources:
        if "/static/" in source:
            assert finders.find(source.partition("/static/")[2]), source
    script = Client().get("/api/v1/docs/?script=")
    assert script.status_code == 200
    assert "/api/v1/schema/" in script.content.decode()

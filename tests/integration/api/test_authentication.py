"""Who may call: tokens, their scopes, their expiry, and the order in which callers are refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from agents import tokens
from agents.models import AgentToken
from deployments.models import Environment, IdempotentCall, Release
from registry.models import RegistryMint
from tests.callers import Caller, assert_problem

pytestmark = pytest.mark.django_db


def test_no_token_is_401_and_says_how_to_send_one(environment: Environment) -> None:
    response = Client().get("/api/v1/environments/")
    body = assert_problem(response, 401, "token.missing")
    assert response["WWW-Authenticate"].startswith("Bearer")
    assert "agent_token create" in body["detail"]


@pytest.mark.parametrize(
    "header",
    [
        "Bearer sam_000000000000_" + "A" * 43,
        "Bearer",
        "Bearer ",
        "Bearer x y z",
        "Basic dXNlcjpwYXNz",
        "Bearer sam_" + "é" * 12,
        "Bearer " + "a" * 10_000,
        "sam_000000000000_" + "A" * 43,
    ],
)
def test_whatever_is_no_usable_token_is_401_and_looks_the_same(environment: Environment, header: str) -> None:
    response = Client().get("/api/v1/environments/", headers={"Authorization": header})
    assert_problem(response, 401, "token.invalid")
    assert 'error="invalid_token"' in response["WWW-Authenticate"]


def test_an_expired_and_a_revoked_token_are_401_at_once(caller: Caller) -> None:
    assert caller.get("/environments/").status_code == 200
    AgentToken.objects.filter(pk=caller.id).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert_problem(caller.get("/environments/"), 401, "token.invalid")
    AgentToken.objects.filter(pk=caller.id).update(expires_at=None)
    tokens.revoke(token_id=caller.id)
    assert_problem(caller.get("/environments/"), 401, "token.invalid")


def test_a_token_with_one_wrong_character_is_401(caller: Caller) -> None:
    wrong = caller.text[:-1] + ("A" if caller.text[-1] != "A" else "B")
    assert_problem(Caller(wrong).get("/environments/"), 401, "token.invalid")


SCOPED = [
    ("GET", "/environments/", "environments:read"),
    ("GET", "/environments/production/", "environments:read"),
    ("POST", "/environments/production/registry-credentials/", "registry:push"),
    ("POST", "/environments/production/releases/", "releases:write"),
    ("GET", "/environments/production/releases/", "environments:read"),
    ("GET", "/environments/production/releases/1/", "environments:read"),
    ("GET", "/environments/production/releases/1/manifest/", "environments:read"),
    ("GET", "/environments/production/releases/1/compose/", "environments:read"),
    ("GET", "/environments/production/releases/1/events/", "environments:read"),
    ("POST", "/environments/production/releases/1/cancel/", "releases:write"),
    ("POST", "/environments/production/rollback/", "releases:write"),
    ("GET", "/environments/production/logs/", "logs:read"),
    ("GET", "/environments/production/volumes/", "environments:read"),
    ("POST", "/environments/production/volumes/", "releases:write"),
    ("POST", "/sessions/", "timeline:write"),
    ("GET", "/profiles/", "environments:read"),
]
EVERY_SCOPE = {"environments:read", "releases:write", "registry:push", "logs:read", "timeline:write"}


@pytest.mark.parametrize(("method", "path", "scope"), SCOPED)
def test_without_the_scope_it_is_403_before_anything_else(
    token: Callable[..., Caller], environment: Environment, method: str, path: str, scope: str
) -> None:
    caller = token(scopes=sorted(EVERY_SCOPE - {scope}))
    for place in (path, path.replace("production", "nowhere")):
        response = caller(method, place)
        body = assert_problem(response, 403, "token.scope")
        assert scope in body["detail"]
    assert not Release.objects.exists()
    assert not RegistryMint.objects.exists()
    assert not IdempotentCall.objects.exists()


def test_a_method_that_a_path_does_not_have_is_405_with_an_allow_header(caller: Caller) -> None:
    response = caller("DELETE", "/environments/")
    assert_problem(response, 405, "request.method")
    assert "GET" in response["Allow"]


def test_an_unknown_path_is_a_problem_and_hints_at_the_slash(caller: Caller) -> None:
    assert "/api/v1/environments/" in assert_problem(caller.get("/environments"), 404, "not_found")["detail"]
    assert_problem(caller("POST", "/nothing/here/"), 404, "not_found")
    assert_problem(Client().get("/api/elsewhere/"), 404, "not_found")


def test_an_answer_in_another_media_type_is_406(caller: Caller) -> None:
    assert_problem(caller.get("/environments/", headers={"Accept": "text/html"}), 406, "request.not_acceptable")


def test_answers_to_tokens_are_kept_by_no_cache_and_set_no_cookie(caller: Caller) -> None:
    response = caller.get("/environments/")
    assert response["Cache-Control"] == "no-store"
    assert not response.cookies


def test_a_host_that_is_not_ours_is_refused_as_a_problem() -> None:
    response = Client().get("/api/v1/docs/", headers={"Host": "evil.example"})
    if response.status_code == 400:
        assert_problem(response, 400, "request.malformed")
    for path in ("/api/v1/environments/", "/api/v1/nowhere"):
        assert Client().get(path, headers={"Host": "a b"})["Content-Type"] == "application/problem+json"

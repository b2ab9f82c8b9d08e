"""Push credentials through the API: shown once, in the contract's shape, and refused in the contract's order."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents import profiles
from agents.models import Project
from deployments.models import Environment, IdempotentCall
from deployments.services import environments
from registry import keys
from registry.models import QuotaWindow, RegistryMint
from tests.callers import Caller, assert_problem
from tests.situations import BY, at_once

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/environments/production/registry-credentials/"


@pytest.fixture(autouse=True)
def _token_service(settings: Any, tmp_path: Path) -> None:
    settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "token.key"
    settings.REGISTRY_TOKEN_CERT_FILE = tmp_path / "token.crt"
    keys.ensure(settings.REGISTRY_TOKEN_KEY_FILE, settings.REGISTRY_TOKEN_CERT_FILE)


def test_credentials_have_the_shape_of_the_contract_and_are_kept_nowhere(caller: Caller) -> None:
    response = caller.post(PATH)
    assert response.status_code == 201, response.content
    assert "no-store" in response["Cache-Control"]
    body = json.loads(response.content)
    assert set(body) == {
        "registry",
        "username",
        "password",
        "namespace",
        "expires_at",
        "path_scoped",
        "instructions",
    }
    assert "/" not in body["registry"]
    assert not body["namespace"].endswith("/")
    assert not body["namespace"].startswith(body["registry"])
    (row,) = RegistryMint.objects.values()
    assert body["password"] not in repr(row)
    assert not IdempotentCall.objects.exists()


def test_the_same_key_twice_makes_two_credentials_since_answers_are_never_kept(caller: Caller) -> None:
    first, second = (caller.post(PATH, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert json.loads(first.content)["password"] != json.loads(second.content)["password"]


def test_sixty_at_once_get_exactly_ten(caller: Caller) -> None:
    responses: list[Any] = at_once([lambda: caller.post(PATH)] * 60)
    assert sum(response.status_code == 201 for response in responses) == 10
    refused = [response for response in responses if response.status_code != 201]
    for response in refused:
        assert assert_problem(response, 429, "quota.exceeded")["retryable"]
        assert 0 < int(response["Retry-After"]) <= 300


def test_whoever_is_refused_before_the_quota_consumes_nothing(
    token: Callable[..., Caller], caller: Caller, environment: Environment, project: Project
) -> None:
    reviewer, _ = profiles.ensure(project=project, name="reviewer", by=BY)
    environments.set_gate(environment=environment, is_open=True, profiles=["reviewer"], by=BY)
    assert_problem(caller.post(PATH), 403, "gate.profile_not_admitted")
    assert token(profile=reviewer).post(PATH).status_code == 201
    before = QuotaWindow.objects.get().taken_at
    environments.set_gate(environment=environment, is_open=False, profiles=["reviewer"], by=BY)
    assert_problem(token(profile=reviewer).post(PATH), 403, "gate.closed")
    environments.stop(environment=environment, by=BY)
    # The state is asked before the gate.
    assert_problem(token(profile=reviewer).post(PATH), 409, "environment.not_active")
    assert QuotaWindow.objects.get().taken_at == before


def test_a_token_service_without_its_key_says_nothing_of_the_file(caller: Caller, settings: Any) -> None:
    settings.REGISTRY_TOKEN_KEY_FILE.unlink()
    response = caller.post(PATH)
    assert response.status_code in (500, 503), response.content
    assert str(settings.REGISTRY_TOKEN_KEY_FILE).encode() not in response.content

"""The token service's door: what it answers to what is wrong, and what it writes about it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings
from structlog.testing import capture_logs

from registry import views
from registry.ports import PushCredentials
from registry.refusals import RefusalRate

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("registry_settings")]


@pytest.fixture(autouse=True)
def _fresh_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "_refusals", RefusalRate())


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def ask(client: Client, authorization: str | None, query: str = "service=sam-registry") -> object:
    headers = {"Authorization": authorization} if authorization is not None else {}
    return client.get(f"/registry/token?{query}", headers=headers)


def test_a_login_without_scope_gets_an_empty_access(client: Client, push_credentials: PushCredentials) -> None:
    answer = ask(client, basic(push_credentials.username, push_credentials.password.reveal()))
    assert answer.status_code == 200
    assert answer.json()["token"] == answer.json()["access_token"]
    assert 60 <= answer.json()["expires_in"] <= 300
    assert answer["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic " + base64.b64encode(b"no-colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        basic("push-x", "not.a.token"),
        basic("", ""),
        basic("push-x", "a" * 7000),
        "Basic " + "A" * 9000,
        "Bearer abc",
        basic("push-x", "eyJhbGciOiJub25lIiwidHlwIjoic2FtLWxvZ2luK2p3dCJ9.e30."),
    ],
)
def test_whatever_is_no_login_gets_one_and_the_same_401(client: Client, authorization: str | None) -> None:
    answer = ask(client, authorization)
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith("Basic ")
    problem = answer.json()
    assert (problem["code"], problem["retryable"]) == ("registry.login_refused", False)
    assert problem["errors"][0]["code"] == "UNAUTHORIZED"


def test_a_password_with_any_one_character_changed_is_refused(
    client: Client, push_credentials: PushCredentials
) -> None:
    password = push_credentials.password.reveal()
    for place in range(0, len(password) - 1, 7):  # the very last character may differ in bits that base64 drops
        other = "A" if password[place] != "A" else "B"
        altered = password[:place] + other + password[place + 1 :]
        assert ask(client, basic(push_credentials.username, altered)).status_code == 401, place


def test_post_is_405_so_that_containerd_falls_back_to_get(client: Client) -> None:
    assert client.post("/registry/token", {"grant_type": "password"}).status_code == 405


def test_another_service_and_an_endless_query_are_refused(client: Client, push_credentials: PushCredentials) -> None:
    authorization = basic(push_credentials.username, push_credentials.password.reveal())
    assert ask(client, authorization, "service=other").json()["code"] == "registry.service_unknown"
    long = "scope=" + "a" * 9000
    assert ask(client, authorization, long).json()["code"] == "registry.request_too_large"


def test_malformed_scopes_earn_nothing_and_no_error(client: Client, push_credentials: PushCredentials) -> None:
    authorization = basic(push_credentials.username, push_credentials.password.reveal())
    for scope in [
        "",
        ":",
        "repository:",
        "repository:acme/web",
        "repository::pull",
        "repository:acme/../x:pull",
        "%00",
    ]:
        assert ask(client, authorization, f"service=sam-registry&scope={scope}").status_code == 200


def test_refusals_are_logged_with_their_number_and_nothing_of_what_was_sent(client: Client) -> None:
    with capture_logs() as lines:
        for _ in range(5):
            ask(client, basic("hunter2-pasted-into-the-user-name", "hunter2"))
    assert [line["event"] for line in lines if line["event"] == "registry_logins_refused"] == [
        "registry_logins_refused"
    ]
    assert "hunter2" not in str(lines)


def test_without_a_usable_key_the_answer_is_503_and_names_no_path(
    client: Client, push_credentials: PushCredentials, registry_settings: Settings, tmp_path: Path
) -> None:
    registry_settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "missing.key"
    answer = ask(client, basic(push_credentials.username, push_credentials.password.reveal()))
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (
        503,
        "registry.key_unusable",
        True,
    )
    assert str(tmp_path) not in answer.content.decode()

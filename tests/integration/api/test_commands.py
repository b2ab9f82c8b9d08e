"""The operator's commands, as a shell sees them: exit status, one object on the last line, values byte for byte."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.core.management import ManagementUtility

from agents import tokens
from agents.models import AgentProfile, AgentToken, Project
from deployments.models import Environment, LogEntry, NamedValue, Release
from deployments.services import values
from tests.callers import accepted
from tests.situations import BY

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass
class Ended:
    status: int
    out: str
    err: str

    @property
    def last(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any, settings: Any) -> Run:
    """Runs a command as `manage.py` does, up to its exit status."""
    settings.STATE_DIR = tmp_path

    def call(*words: str, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        capsys.readouterr()
        status = 0
        try:
            ManagementUtility(["manage.py", *words]).execute()
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err + said.out
        return Ended(status, said.out, said.err)

    return call


def test_a_project_and_an_environment_are_made_and_shown(run: Run) -> None:
    assert run("project", "create", "shop", "--json").last["namespace"] == "shop"
    made = run("environment", "create", "shop/production", "--json")
    assert (made.status, made.last["gate"], made.last["state"]) == (0, "closed", "active")
    shown = run("environment", "show", "shop/production", "--json").last
    assert shown["node"] is None
    assert shown["volumes"] == []
    assert set(shown["observed"]) == {"app", "node", "provider", "routes", "disk", "drift"}
    assert "shop/production" in run("environment", "show", "shop/production").out
    assert run("environment", "list").status == run("project", "list").status == 0


@pytest.mark.parametrize(
    "words",
    [
        ("project", "create", "Shop"),
        ("project", "create", "a--b"),
        ("environment", "create", "nobody/production"),
        ("environment", "create", "shop/Production"),
        ("environment", "create", "shop/new", "--account", "nowhere"),
        ("environment", "show", "shop/nowhere"),
        ("environment", "gate", "shop/nowhere", "open"),
        ("environment", "start", "shop/nowhere"),
        ("environment", "replace-node", "shop/production"),
        ("secret", "unset", "shop/production", "NOBODY"),
        ("agent_token", "create", "nobody", "--name", "n"),
        ("agent_token", "create", "shop", "--name", "n", "--scope", "all"),
        ("agent_token", "create", "shop", "--name", "n", "--environment", "nowhere"),
        ("agent_token", "revoke", "000000000000"),
        ("keyset", "show"),
        ("keyset", "rotate"),
        ("keyset", "revoke"),
        ("rotate_kek",),
        ("provider_account", "check", "nobody"),
        ("provider_account", "create", "n", "--provider", "x"),
        ("volume", "resize", "shop/production", "media", "--size-gb", "20"),
        ("volume", "delete", "shop/production", "media"),
        ("verify_log", "--project", "nobody"),
    ],
)
def test_a_refusal_ends_with_1_and_tells_code_and_cure(
    run: Run, environment: Environment, words: tuple[str, ...]
) -> None:
    ended = run(*words, "--json")
    assert ended.status == 1, ended
    assert ended.last["ok"] is False
    assert f"{ended.last['code']}: {ended.last['detail']}" in ended.err
    assert run(*words).status == 1


@pytest.mark.parametrize(
    "words",
    [
        ("project",),
        ("project", "create"),
        ("project", "destroy", "shop"),
        ("environment", "create", "production"),
        ("environment", "create", "a/b/c"),
        ("environment", "create", "shop/x", "--gate", "ajar"),
        ("environment", "gate", "shop/production", "ajar"),
        ("secret", "set", "shop/production"),
        ("agent_token", "create", "shop"),
        ("agent_token", "create", "shop", "--name", ""),
        ("agent_token", "create", "shop", "--name", "n", "--expires-in", "0"),
        ("agent_token", "create", "shop", "--name", "n", "--expires-in", "-5"),
        ("agent_token", "create", "shop", "--name", "n", "--expires-in", "soon"),
        ("volume", "resize", "shop/production", "media"),
        ("keyset",),
        ("verify_log", "--colour"),
    ],
)
def test_wrong_usage_ends_with_2(run: Run, environment: Environment, words: tuple[str, ...]) -> None:
    assert run(*words).status == 2


def test_the_gate_opens_for_certain_profiles_and_closes(run: Run, environment: Environment) -> None:
    opened = run(
        "environment", "gate", "shop/production", "open", "--profile", "reviewer", "--profile", "codex", "--json"
    )
    assert opened.status == 0
    assert opened.last["policy"]["profiles"] == ["reviewer", "codex"]
    assert "reviewer is new" in opened.err
    closed = run("environment", "gate", "shop/production", "closed", "--json").last
    assert (closed["gate"], closed["policy"]["profiles"]) == ("closed", ["reviewer", "codex"])


@pytest.mark.parametrize(
    "value", [b"plain", b"with newline\n", b"two\r\nlines", " ünï ".encode(), b"$ {x} '\"", b"x" * 32768]
)
@pytest.mark.parametrize("kind", ["secret", "variable"])
def test_a_value_is_kept_byte_for_byte(run: Run, environment: Environment, kind: str, value: bytes) -> None:
    ended = run(kind, "set", "shop/production", "NAME", "--json", stdin=value)
    assert ended.status == 0, ended
    assert values.plain(environment)["NAME"].text.encode() == value
    assert ("newline" in ended.err) == value.endswith(b"\n")
    if kind == "secret":
        shown = run("secret", "list", "shop/production", "--json")
        assert value.decode().strip() not in shown.out + ended.out + ended.err
        assert [row["name"] for row in shown.last["secrets"]] == ["NAME"]


@pytest.mark.parametrize("value", [b"\xff", b"a\x00b!", b"x" * 32769, b"abc"])
def test_a_value_that_cannot_be_kept_is_refused_and_not_echoed(
    run: Run, environment: Environment, value: bytes
) -> None:
    ended = run("secret", "set", "shop/production", "NAME", stdin=value)
    assert (ended.status, ended.err.startswith("Refused: value.invalid: ")) == (1, True)
    assert not NamedValue.objects.exists()


def test_a_value_is_unset_and_gone(run: Run, environment: Environment) -> None:
    run("variable", "set", "shop/production", "NAME", stdin=b"value")
    assert run("variable", "list", "shop/production", "--json").last["variables"][0]["value"] == "value"
    assert run("variable", "unset", "shop/production", "NAME").status == 0
    assert run("variable", "list", "shop/production", "--json").last["variables"] == []


def test_a_token_is_shown_once_and_works_until_it_is_revoked(run: Run, environment: Environment) -> None:
    words = ("--name", "bot", "--scope", "environments:read", "--environment", "production", "--profile", "reviewer")
    made = run("agent_token", "create", "shop", *words, "--expires-in", "60", "--json").last
    assert set(made) == {"id", "token", "expires_at"}
    assert made["expires_at"] is not None
    principal = tokens.authenticate(made["token"])
    assert principal is not None
    assert (principal.profile, principal.scopes) == ("reviewer", {"environments:read"})
    assert principal.environment_ids == {environment.pk}
    assert AgentProfile.objects.get().name == "reviewer"
    listed = run("agent_token", "list", "--json")
    assert made["token"] not in listed.out
    assert listed.last["tokens"][0]["state"] == "usable"
    assert run("agent_token", "revoke", made["id"]).status == 0
    assert tokens.authenticate(made["token"]) is None
    assert AgentToken.objects.count() == 1


def test_a_token_without_an_end_says_so(run: Run, project: Project) -> None:
    assert run("agent_token", "create", "shop", "--name", "n", "--json").last["expires_at"] is None


def test_keys_are_made_once(run: Run) -> None:
    first = run("keyset", "init", "--json").last
    assert first["version"] == 1
    assert run("keyset", "init", "--json").last == first == run("keyset", "show", "--json").last
    assert "sealed" not in json.dumps(first)


def test_stop_and_start_are_accepted_and_wait_as_long_as_asked(run: Run, environment: Environment) -> None:
    stopped = run("environment", "stop", "shop/production", "--json")
    assert (stopped.status, stopped.last["state"]) == (0, "stopping")
    assert run("environment", "start", "shop/production").err.startswith("Refused: environment.wrong_state: ")
    assert run("environment", "stop", "shop/production", "--wait", "1").status == 1
    assert run("environment", "retire", "shop/production", "--json").last["state"] == "retiring"


def test_verify_log_holds_and_finds_the_first_broken_link(run: Run, environment: Environment) -> None:
    for _ in range(3):
        accepted(environment)
    assert run("verify_log", "--json").last == {"ok": True, "projects": ["shop"]}
    entry = LogEntry.objects.order_by("position")[1]
    LogEntry.objects.filter(pk=entry.pk).update(body=bytes(entry.body).replace(b"tests", b"nobody"))
    broken = run("verify_log", "--project", "shop", "--json")
    assert broken.status == 1
    assert broken.last["broken"]["position"] == 2
    assert "entry 2" in run("verify_log").out


def test_a_release_that_was_altered_is_found_too(run: Run, environment: Environment) -> None:
    release = accepted(environment)
    Release.objects.filter(pk=release.pk).update(manifest=b"{}")
    broken = run("verify_log", "--json")
    assert (broken.status, broken.last["ok"]) == (1, False)


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """manage.py in a process of its own, with nothing but these in its environment."""
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=Path(__file__).resolve().parents[3],
        env={"PATH": os.environ["PATH"], "SAM_SETTINGS_FILE": os.devnull, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_settings_a_command_says_which_and_where_from() -> None:
    ended = shell("project", "list")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Refused: settings.invalid: ")
    assert "SAM_SECRET_KEY" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_a_database_a_command_says_so_at_once_and_in_one_line() -> None:
    given = {"SAM_SECRET_KEY": "k" * 50, "SAM_KEK": os.environ["SAM_KEK"]}
    ended = shell("project", "list", "--json", DATABASE_URL="postgres://sam:sam@127.0.0.1:1/none", **given)
    assert ended.returncode == 1
    assert json.loads(ended.stdout.splitlines()[-1])["code"] == "database.unavailable"
    assert ended.stderr.startswith("Refused: database.unavailable: ")
    assert len(ended.stderr.splitlines()) == 1


def test_operators_are_named_in_what_they_did(run: Run, environment: Environment) -> None:
    values.set_value(environment=environment, kind="variable", name="A", value=b"b", by=BY)
    run("variable", "set", "shop/production", "A", stdin=b"c")
    assert NamedValue.objects.get().set_by["operator"].endswith("(manage.py)")


def test_a_gate_opened_without_naming_profiles_is_open_to_all(run: Any, environment: Environment) -> None:
    run("environment", "gate", "shop/production", "open", "--profile", "reviewer")
    environment.refresh_from_db()
    assert environment.admitted_profiles == ["reviewer"]
    run("environment", "gate", "shop/production", "closed")
    environment.refresh_from_db()
    assert environment.admitted_profiles == ["reviewer"]
    run("environment", "gate", "shop/production", "open")
    environment.refresh_from_db()
    assert environment.admitted_profiles == [] and environment.gate_open

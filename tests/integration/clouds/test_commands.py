"""The operator's commands for accounts, sites, nodes and volumes: exit status, and one object on the last line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.management import ManagementUtility

from deployments import signing
from deployments.models import Environment
from providers.models import ProviderAccount
from providers.testing.harnesses import FakeHarness
from tests.clouds import ACCOUNT, CREDENTIALS, REFUSED_CREDENTIALS, World, cloud

Run = Callable[..., tuple[int, dict[str, Any], str]]


@pytest.fixture
def world(kind: type[FakeHarness], transactional_db: None, installation: None) -> Iterator[World]:
    """Commands have a connection of their own, and close it."""
    with cloud(kind) as made:
        signing.init()
        made.account()
        yield made


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command as `manage.py` does; its status, the object of its last line, and all that it said."""

    def call(*words: str, stdin: object = None) -> tuple[int, dict[str, Any], str]:
        raw = b"" if stdin is None else json.dumps(stdin).encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw)))
        capsys.readouterr()
        status = 0
        try:
            ManagementUtility(["manage.py", *words, "--json"]).execute()
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, json.loads(said.out.splitlines()[-1]) if said.out else {}, said.out + said.err

    return call


def options(world: World, **more: str) -> list[str]:
    given = {"api_url": world.api_url, **world.options, **more}
    return [word for name, value in given.items() for word in ("--option", f"{name}={value}")]


def test_an_account_is_made_from_standard_input_and_its_credentials_are_sealed(world: World, run: Run) -> None:
    credentials = CREDENTIALS[type(world.harness)]
    made = ("provider_account", "create", "second", "--provider", world.slug, *options(world, poll_seconds="0.2"))
    status, body, said = run(*made, stdin=credentials)
    assert status == 0, said
    assert (body["name"], body["provider"], body["paused"]) == ("second", world.slug, None)
    assert body["options"]["poll_seconds"] == "0.2"
    row = ProviderAccount.objects.get(name="second")
    for secret in credentials.values():
        assert secret not in said
        assert secret.encode() not in bytes(row.credentials)
    status, body, _ = run("provider_account", "list")
    assert status == 0
    assert {"second", ACCOUNT, "local"} <= {each["name"] for each in body["accounts"]}
    assert run(*made, stdin=credentials)[1]["code"] == "provider.account_exists"


@pytest.mark.parametrize("stdin", [None, [], "x", {"token": 1}, {"colour": "blue"}])
def test_credentials_that_are_none_are_refused_without_an_echo(world: World, run: Run, stdin: object) -> None:
    status, body, said = run("provider_account", "create", "second", "--provider", world.slug, stdin=stdin)
    assert (status, body["code"]) == (1, "provider.invalid_request")
    assert "blue" not in said


def test_options_that_are_wrong_are_refused_all_at_once(world: World, run: Run) -> None:
    wrong = ("--option", "api_url=http://api.example.com", "--option", "poll_seconds=soon", "--option", "colour=blue")
    words = ("provider_account", "create", "second", "--provider", world.slug, *wrong)
    status, body, _ = run(*words, stdin=CREDENTIALS[type(world.harness)])
    assert status == 1
    for name in ("api_url", "poll_seconds", "colour"):
        assert name in body["detail"]


def test_a_check_tells_rights_locations_sizes_with_prices_and_quotas_with_cures(world: World, run: Run) -> None:
    status, body, _ = run("provider_account", "check", ACCOUNT)
    assert status == 0
    assert body["ok"] is True
    assert body["paused"] is False
    subjects = {finding["subject"]: finding for finding in body["findings"]}
    assert {"credentials", "rights", "locations", "sizes", "quotas"} <= subjects.keys()
    assert all(finding["cure"] for finding in body["findings"] if finding["verdict"] != "ok")
    assert world.harness.location in {each["name"] for each in body["locations"]}
    (size,) = [each for each in body["sizes"] if each["name"] == world.harness.size][:1]
    assert size["monthly_price"]
    assert body["as_of"]
    status, body, _ = run("provider_account", "check")
    assert {each["account"] for each in body["accounts"]} >= {ACCOUNT}


def test_a_check_that_fails_ends_with_1_and_keeps_the_pause(world: World, run: Run) -> None:
    world.account("broken", credentials=REFUSED_CREDENTIALS[type(world.harness)])
    status, body, _ = run("provider_account", "check", "broken")
    assert status == 1
    assert body["ok"] is False
    assert body["paused"] is True
    (finding,) = [each for each in body["findings"] if each["subject"] == "credentials"]
    assert finding["cure"]
    status, body, _ = run("provider_account", "list")
    (row,) = [each for each in body["accounts"] if each["name"] == "broken"]
    assert row["paused"]["code"] == "provider.auth"


def test_an_environment_is_made_where_the_account_can_have_it(world: World, run: Run) -> None:
    world.environment()
    place = ("--account", ACCOUNT, "--location", world.harness.location, "--size", world.harness.size)
    status, body, said = run("environment", "create", "shop/second", *place)
    assert status == 0, said
    assert body["placement"]["location"] == world.harness.location
    assert body["placement"]["size"] == world.harness.size
    assert body["price"] is None or body["price"]["as_of"]
    for wrong in (("--location", "nowhere"), ("--size", "tiny"), ("--account", "nobody")):
        status, body, _ = run("environment", "create", "shop/third", "--account", ACCOUNT, *wrong)
        assert status == 1
        assert body["code"] in ("value.invalid", "provider.unknown_account")
    status, body, _ = run("environment", "place", "shop/second", "--location", world.harness.other_location)
    assert status == 0
    assert body["placement"]["location"] == world.harness.other_location


def test_show_tells_node_and_volumes_as_the_provider_has_them(world: World, environment: Environment, run: Run) -> None:
    world.live(environment, world.release(environment, data=10))
    status, body, _ = run("environment", "show", "shop/production")
    assert status == 0
    node = {name: body["node"][name] for name in ("provider", "id", "state")}
    assert node == {"provider": world.slug, "id": world.servers(environment)[0], "state": "ready"}
    (volume,) = body["volumes"]
    assert volume == {
        "name": "data",
        "id": world.volumes(environment)[0],
        "state": "attached",
        "size_gb": 10,
        "server": node["id"],
    }


def test_volumes_are_listed_grown_and_deleted_with_the_name_typed(
    world: World, environment: Environment, run: Run
) -> None:
    world.live(environment, world.release(environment, data=10))
    path = "shop/production"
    status, body, _ = run("volume", "resize", path, "data", "--size-gb", "20")
    assert (status, body["volume"]["wanted_gb"]) == (0, 20)
    world.run(environment, lambda: world.volume(environment).size_gb == 20)
    assert run("volume", "resize", path, "data", "--size-gb", "15")[1]["code"] == "volume.shrinks"
    assert run("volume", "resize", path, "none", "--size-gb", "15")[1]["code"] == "not_found"
    assert run("volume", "delete", path, "data")[1]["code"] == "confirmation.missing"
    assert run("volume", "delete", path, "data", "--confirm", "data")[1]["code"] == "volume.in_use"
    world.stop(environment)
    assert run("volume", "delete", path, "data", "--confirm", "nope")[0] == 1
    status, body, _ = run("volume", "delete", path, "data", "--confirm", "data")
    assert (status, body["volume"]["state"]) == (0, "deleting")
    world.run(environment, lambda: not world.volumes(environment))
    world.run(environment, lambda: not run("volume", "list", path)[1]["volumes"])


def test_replace_node_asks_for_the_name_where_something_may_still_run(
    world: World, environment: Environment, run: Run
) -> None:
    world.live(environment, world.release(environment))
    status, body, _ = run("environment", "replace-node", "shop/production")
    assert (status, body["code"]) == (1, "confirmation.missing")
    status, body, _ = run("environment", "replace-node", "shop/production", "--confirm", "production")
    assert status == 0
    assert body["node"]["state"] == "deleting"
    assert body["pending_sequence"] == 2


def test_commands_without_json_speak_to_people(
    world: World, environment: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    world.live(environment, world.release(environment, data=10))
    capsys.readouterr()
    for words in (
        ("provider_account", "check", ACCOUNT),
        ("provider_account", "list"),
        ("volume", "list", "shop/production"),
    ):
        ManagementUtility(["manage.py", *words]).execute()
    said = capsys.readouterr().out
    assert f"{ACCOUNT} ({world.slug}) passes." in said
    assert "data  10 GB  attached" in said

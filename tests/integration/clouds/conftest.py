"""The control plane with an account at each fake cloud in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import Settings

from deployments import nudges, signing
from deployments.models import Environment
from providers.testing.harnesses import FakeHarness, HetznerHarness, ScalewayHarness
from registry import keys
from tests.clouds import World, cloud


@pytest.fixture(autouse=True)
def installation(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.STATE_DIR = tmp_path / "state"
    settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "registry" / "token.key"
    settings.REGISTRY_TOKEN_CERT_FILE = tmp_path / "registry" / "token.crt"
    settings.CA_FILE = settings.REGISTRY_CA_FILE = None
    keys.ensure(settings.REGISTRY_TOKEN_KEY_FILE, settings.REGISTRY_TOKEN_CERT_FILE)
    # There is no worker here: tests advance by themselves, as the sweep does when every nudge is lost.
    monkeypatch.setattr(nudges, "advance", lambda environment_id, after_seconds=0: None)


@pytest.fixture(params=[HetznerHarness, ScalewayHarness], ids=["hetzner", "scaleway"])
def kind(request: pytest.FixtureRequest) -> type[FakeHarness]:
    found: type[FakeHarness] = request.param
    return found


@pytest.fixture
def world(kind: type[FakeHarness], db: None, installation: None) -> Iterator[World]:
    with cloud(kind) as made:
        signing.init()
        made.account()
        yield made


@pytest.fixture
def environment(world: World) -> Environment:
    return world.environment()

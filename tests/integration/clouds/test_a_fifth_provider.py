"""A provider from outside the tree, taken from the docs as it stands there: a class, and a line of settings."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from pytest_django import Settings

from agents import projects
from deployments import signing
from deployments.models import Environment
from deployments.services import accounts, environments, heartbeats, reconciliation, surveys
from tests.clouds import BY, World, token_in
from tests.node_client import SimulatedNode, environment_report

PAGE = Path(__file__).resolve().parents[3] / "docs" / "providers.md"


@pytest.fixture
def shed(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "shed.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    settings.PROVIDERS = {**settings.PROVIDERS, "shed": {"class": "shed.Shed", "options": {}}}
    settings.PUBLIC_URL, settings.REGISTRY_URL = "https://sam.example", "https://registry.example:5000"
    yield importlib.import_module("shed")
    sys.modules.pop("shed")


@pytest.mark.django_db
def test_a_release_becomes_live_on_a_provider_that_the_tree_does_not_know(shed: ModuleType) -> None:
    signing.init()
    accounts.create(name="back", slug="shed", options={}, credentials={"key": "under the mat"})
    assert accounts.check("back").report.passes
    plane = Plane()
    environment = plane.environment(account="back")
    release = plane.release(environment, data=3)
    for _ in range(4):
        reconciliation.advance(environment.pk)
    (server,) = shed.SERVERS.values()
    (volume,) = shed.VOLUMES.values()
    assert (volume.size_gb, volume.server_id) == (3, server.id)
    plane.enrol(environment, shed.USER_DATA[server.id])
    reconciliation.advance(environment.pk)
    assert plane.status(release) == "offered"
    plane.report(environment, plane.machines[str(environment.pk)], release.sequence)
    assert plane.status(release) == "live"
    surveys.survey("back")
    environments.stop(environment=environment, by=BY)
    reconciliation.advance(environment.pk)
    plane.report(environment, plane.machines[str(environment.pk)], environment.orders.get().sequence)
    reconciliation.advance(environment.pk)
    assert plane.state(environment) == "stopped"
    assert shed.SERVERS == {}
    assert [each.server_id for each in shed.VOLUMES.values()] == [None]


class Plane(World):
    """The parts of a world that need no fake cloud behind them."""

    def __init__(self) -> None:
        self.machines: dict[str, SimulatedNode] = {}

    def environment(self, slug: str = "production", *, account: str = "back", project: str = "shop") -> Environment:
        return environments.create(
            project=projects.create(slug=project, by=BY), slug=slug, gate_open=True, account=account, by=BY
        )

    def enrol(self, environment: Environment, user_data: str) -> None:
        machine = SimulatedNode()
        assert machine.enrol(token_in(user_data)).status_code == 200
        beat = machine.heartbeat_of(environment_report(environment.pk))
        heartbeats.take(node=self.node(environment), heartbeat=beat)
        self.machines[str(environment.pk)] = machine

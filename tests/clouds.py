"""Whole clouds for tests of the control plane: the fakes over HTTP, accounts in them, machines that boot, and time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
import yaml
from django.db import transaction
from django.utils import timezone

from agents import projects
from deployments import signing
from deployments.domain.manifest import Manifest, Service, VolumeSpec, canonical
from deployments.models import Environment, Node, Release, Volume
from deployments.selectors import environments as selected
from deployments.selectors import manifests
from deployments.services import accounts, attempts, environments, heartbeats, reconciliation, releases, surveys
from providers.testing import fake_hetzner, fake_scaleway
from providers.testing.harnesses import Cloud, FakeHarness, HetznerHarness, ScalewayHarness
from tests.node_client import (
    SimulatedNode,
    environment_report,
    healthy,
    payload_of,
    receipt_for,
    statement_of,
)

BY = {"operator": "tests"}
IMAGE = "127.0.0.1:5000/shop/web@sha256:" + "a" * 64
DIGEST = IMAGE.partition("@")[2]
ACCOUNT = "cloud"
CREDENTIALS: Mapping[type[FakeHarness], dict[str, str]] = {
    HetznerHarness: {"token": fake_hetzner.TOKEN},
    ScalewayHarness: {
        "access_key": fake_scaleway.ACCESS_KEY,
        "secret_key": fake_scaleway.SECRET_KEY,
        "project_id": fake_scaleway.PROJECT_ID,
    },
}
REFUSED_CREDENTIALS: Mapping[type[FakeHarness], dict[str, str]] = {
    HetznerHarness: {"token": "x" * 64},
    ScalewayHarness: {
        **CREDENTIALS[ScalewayHarness],
        "secret_key": "5ec2e700-0000-4000-8000-00000000000f",
    },
}
_STEPS_MAX = 120
_SECONDS_PER_POLL = 2


class Killed(BaseException):
    """The worker is dead: no `except Exception` runs, and nothing after this line either."""


@dataclass
class World:
    """One fake cloud, an account in it, and a clock that a test moves."""

    harness: FakeHarness
    clock: time_machine.Traveller
    machines: dict[str, SimulatedNode] = field(default_factory=dict)

    # Making things

    def account(self, name: str = ACCOUNT, *, credentials: Mapping[str, str] | None = None, **options: str) -> None:
        given = {"api_url": self.api_url, **self.options, **options}
        kind = type(self.harness)
        accounts.create(name=name, slug=self.slug, options=given, credentials=credentials or CREDENTIALS[kind])

    @property
    def slug(self) -> str:
        return "hetzner" if isinstance(self.harness, HetznerHarness) else "scaleway"

    @property
    def api_url(self) -> str:
        fake = self.harness.fake
        return fake.api_url if isinstance(fake, fake_hetzner.FakeHetzner) else fake.url

    @property
    def options(self) -> dict[str, str]:
        zones = f"{self.harness.location},{self.harness.other_location}"
        return {"request_timeout_seconds": "2", **({} if self.slug == "hetzner" else {"zones": zones})}

    def environment(self, slug: str = "production", *, account: str = ACCOUNT, project: str = "shop") -> Environment:
        owner = projects.create(slug=project, by=BY) if not _exists(project) else projects.named(project)
        return environments.create(
            project=owner,
            slug=slug,
            gate_open=True,
            account=account,
            location=self.harness.location,
            size=self.harness.size,
            by=BY,
        )

    def release(self, environment: Environment, **volumes: int | None) -> Release:
        """Accept a manifest with these volumes (GB), as `submit` does after its checks."""
        content = Manifest(
            services={"web": Service(image=IMAGE)},
            volumes={name: VolumeSpec(size) for name, size in volumes.items()},
            worker=True,
        )
        with transaction.atomic():
            row = Environment.objects.locked(environment.pk)
            return releases.accept(environment=row, manifest_bytes=canonical(content), by=BY, plan={})

    # Letting time pass

    def advance(self, environment: Environment) -> None:
        reconciliation.advance(environment.pk)

    def run(self, environment: Environment, until: Callable[[], Any], *, steps: int = _STEPS_MAX) -> Any:
        """Advance, and move the clock to when something is due, until the condition holds; answers what it answers."""
        for _ in range(steps):
            try:
                self.advance(environment)
            except Killed:
                # Another worker comes by when the lease of the dead one is over.
                self.wait(attempts.LEASE_SECONDS + 1)
                continue
            found = until()
            if found:
                return found
            self.pass_time(environment)
        raise AssertionError(f"it never came to that: {self.told(environment)}")

    def pass_time(self, environment: Environment) -> None:
        """To the moment when the environment's rows are due next; a second at least."""
        rows = [*Node.objects.filter(environments=environment), *environment.volumes.exclude(state="deleted")]
        times = [each for each in map(attempts.next_look, rows) if each is not None and each > timezone.now()]
        self.wait((min(times) - timezone.now()).total_seconds() + 0.01 if times else 1)

    def wait(self, seconds: float) -> None:
        """Here and in the cloud, whose time is counted in polls."""
        self.clock.shift(timedelta(seconds=seconds))
        self.harness.advance(max(1, int(seconds / _SECONDS_PER_POLL)))

    def survey(self, account: str = ACCOUNT) -> None:
        """Look through the account now, and the environments that it tells something about."""
        self.wait(surveys.EVERY_SECONDS + 1)
        surveys.survey(account)

    def told(self, environment: Environment) -> dict[str, Any]:
        row = Environment.objects.get(pk=environment.pk)
        return {
            "state": row.state,
            "node": [(n.state, n.server_id, n.operation, n.fault) for n in Node.objects.filter(environments=row)],
            "volumes": [(v.name, v.state, v.operation, v.fault) for v in row.volumes.all()],
            "releases": [(r.sequence, r.status, r.waiting, r.evidence) for r in row.releases.all()],
        }

    # Machines

    def boot(self, environment: Environment) -> SimulatedNode:
        """The machine of the environment's server boots: it finds its token in its own user data, and enrols."""
        node = self.node(environment)
        given = self.harness.user_data_at_boot(node.server_id or self.servers(environment)[0])
        assert given is not None, "the server was powered on without user data"
        machine = SimulatedNode()
        answer = machine.enrol(token_in(given))
        assert answer.status_code == 200, answer.content
        self.machines[str(environment.pk)] = machine
        return machine

    def booted(self, environment: Environment) -> SimulatedNode:
        """Advance until the server runs, and boot it."""
        self.run(environment, lambda: self.node(environment).state == "booting")
        machine = self.boot(environment)
        # Past the door, which holds heartbeats on connections of its own that see nothing of a test's transaction.
        beat = machine.heartbeat_of(environment_report(environment.pk))
        heartbeats.take(node=self.node(environment), heartbeat=beat)
        return machine

    def live(self, environment: Environment, release: Release) -> Release:
        """Take the release through its node: offered, fetched, reported live with evidence."""
        if str(environment.pk) not in self.machines:
            self.booted(environment)
        machine = self.machines[str(environment.pk)]
        self.run(environment, lambda: self.status(release) == "offered")
        self.report(environment, machine, release.sequence)
        assert self.status(release) == "live", self.told(environment)
        self.advance(environment)
        return release

    def report(self, environment: Environment, machine: SimulatedNode, sequence: int, **changes: Any) -> None:
        answer = machine.fetch(environment.pk, sequence)
        assert answer.status_code == 200, answer.content
        statement = statement_of(payload_of(answer), signing.keyset())
        if statement.action == "apply":
            content = manifests.of(Release.objects.get(environment=environment, sequence=sequence))
            services = {name: healthy(DIGEST) for name in content.services}
            word = receipt_for(statement, services, routes_served=(), **changes)
        else:
            outcome = {"stop": "stopped", "retire": "retired"}[statement.action]
            word = receipt_for(statement, {}, routes_served=(), outcome=outcome, serving_seq=0, **changes)
        answer = machine.report(environment.pk, sequence, receipt=machine.signed(word))
        assert answer.status_code in (200, 204), answer.content

    def stop(self, environment: Environment, action: str = "stop") -> None:
        """Order it, let the node do its part if it can, and follow until it has ended."""
        getattr(environments, action)(environment=environment, by=BY)
        ended = {"stop": "stopped", "retire": "retired"}[action]

        def is_done() -> bool:
            order = environment.orders.order_by("-sequence").first()
            machine = self.machines.get(str(environment.pk))
            if order is not None and order.status == "offered" and machine is not None:
                self.report(environment, machine, order.sequence)
            return self.state(environment) == ended

        self.run(environment, is_done)
        self.machines.pop(str(environment.pk), None)

    def remove_by_hand(self, resource_id: str) -> None:
        """As a person does in the console; Scaleway's keeps the root of a server that is deleted, detached."""
        fake = self.harness.fake
        if isinstance(fake, fake_scaleway.FakeScaleway) and resource_id in fake.servers:
            for kept in fake.volumes.values():
                references = kept.shown["references"]
                if any(each["product_resource_id"] == resource_id for each in references):
                    kept.shown.update(status="available", references=[])
        self.harness.remove_by_hand(resource_id)

    # Looking

    def node(self, environment: Environment) -> Node:
        return Node.objects.get(environments=environment)

    def volume(self, environment: Environment, name: str = "data") -> Volume:
        return Volume.objects.exclude(state="deleted").get(environment=environment, name=name)

    def state(self, environment: Environment) -> str:
        return str(Environment.objects.values_list("state", flat=True).get(pk=environment.pk))

    def status(self, release: Release) -> str:
        release.refresh_from_db()
        return str(release.status)

    def waiting(self, release: Release) -> dict[str, Any]:
        release.refresh_from_db()
        return dict(release.waiting or {})

    def shown(self, environment: Environment) -> dict[str, Any]:
        row = Environment.objects.select_related("project", "node").get(pk=environment.pk)
        return selected.represent(row)

    def cloud(self) -> Cloud:
        return self.harness.cloud()

    def servers(self, environment: Environment) -> list[str]:
        """Those of the environment, by the labels at the cloud."""
        return [i for i, kept in self.cloud().servers.items() if kept.labels.get("environment") == str(environment.pk)]

    def volumes(self, environment: Environment) -> list[str]:
        return [i for i, kept in self.cloud().volumes.items() if kept.labels.get("environment") == str(environment.pk)]

    def created(self, what: str = "create_server") -> int:
        """How many creations of that kind the cloud was asked for."""
        return self.harness.fake.calls.count(what)


def token_in(user_data: str) -> str:
    """The one-time token, where cloud-init would write it."""
    files = {each["path"]: each["content"] for each in yaml.safe_load(user_data)["write_files"]}
    (document,) = [content for path, content in files.items() if path.endswith("/enrolment.json")]
    return str(json.loads(document)["token"])


def _exists(slug: str) -> bool:
    return projects.Project.objects.filter(slug=slug).exists()


@contextmanager
def cloud(kind: type[FakeHarness]) -> Iterator[World]:
    """A world of one fake cloud, at a moment in time that goes on by itself and can be moved."""
    with time_machine.travel(datetime.now(UTC), tick=True) as clock:
        harness = kind()
        try:
            yield World(harness, clock)
        finally:
            harness.close()


class Guillotine:
    """A provider whose caller dies: before or after its nth call, as SIGKILL would have it."""

    def __init__(self, provider: Any, deaths: Deaths) -> None:
        self._provider, self._deaths = provider, deaths

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._provider, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **names: Any) -> Any:
            self._deaths.at(f"before {name}")
            answer = found(*arguments, **names)
            self._deaths.at(f"after {name}")
            return answer

        return call


@dataclass
class Deaths:
    """Counts the places where a worker can die between two commits, and kills it at one of them, once."""

    at_place: int | None = None
    places: list[str] = field(default_factory=list)
    died: str = ""

    def at(self, place: str) -> None:
        self.places.append(place)
        if len(self.places) - 1 == self.at_place:
            self.died = place
            raise Killed(place)

    def guard(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = accounts.provider_of
        monkeypatch.setattr(accounts, "provider_of", lambda account: Guillotine(real(account), self))

"""An installation with keys, a project, an environment, and a node that has enrolled for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pytest_django import Settings

from agents import projects
from agents.models import Project
from deployments import signing
from deployments.domain.manifest import Manifest, Route, Service
from deployments.models import Environment, Node, Release
from deployments.services import environments
from nodeagent.wire.keyset import Keyset
from nodeagent.wire.statement import Statement
from registry import keys
from tests.node_client import SimulatedNode, payload_of, statement_of
from tests.situations import BY, IMAGE, offered, placed, token_for


@pytest.fixture(autouse=True)
def _installation(transactional_db: None, redis_url: str, settings: Settings, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path / "state"
    settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "registry" / "token.key"
    settings.REGISTRY_TOKEN_CERT_FILE = tmp_path / "registry" / "token.crt"
    keys.ensure(settings.REGISTRY_TOKEN_KEY_FILE, settings.REGISTRY_TOKEN_CERT_FILE)


@pytest.fixture
def keyset(_installation: None) -> Keyset:
    return signing.init()


@pytest.fixture
def project(_installation: None) -> Project:
    return projects.create(slug="shop")


@pytest.fixture
def environment(project: Project) -> Environment:
    return environments.create(project=project, slug="production", gate_open=True, by=BY)


@pytest.fixture
def node_row(environment: Environment) -> Node:
    """A row as the placement leaves it: asked of the provider, not heard of yet."""
    return placed(environment)


@pytest.fixture
def node(keyset: Keyset, node_row: Node) -> SimulatedNode:
    made = SimulatedNode()
    answer = made.enrol(token_for(node_row))
    assert answer.status_code == 200, answer.content
    return made


@pytest.fixture
def content() -> Manifest:
    return Manifest(services={"web": Service(image=IMAGE)}, routes=(Route("web", 8080, "public"),))


@dataclass(frozen=True)
class Offered:
    """A release that its node was offered and has fetched."""

    release: Release
    statement: Statement


@pytest.fixture
def offer(environment: Environment, node: SimulatedNode, content: Manifest) -> Callable[..., Release]:
    """Accept a manifest as the next release, and offer it to the node."""

    def offer(wanted: Manifest = content) -> Release:
        return offered(environment, wanted)

    return offer


@pytest.fixture
def deliver(
    environment: Environment, node: SimulatedNode, keyset: Keyset, offer: Callable[..., Release], content: Manifest
) -> Callable[..., Offered]:
    """The same, and the node has fetched it."""

    def deliver(wanted: Manifest = content) -> Offered:
        release = offer(wanted)
        answer = node.fetch(environment.pk, release.sequence)
        assert answer.status_code == 200, answer.content
        return Offered(release, statement_of(payload_of(answer), keyset))

    return deliver

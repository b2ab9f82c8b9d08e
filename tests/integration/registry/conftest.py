"""A real registry that asks the real token service, which runs on a real database."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from pytest_django import Settings
from pytest_django.live_server_helper import LiveServer

from registry import credentials, keys
from registry.ports import PullCredentials, PushCredentials
from scripts import ports, registries
from tests.registry_client import Client


@pytest.fixture(scope="session")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("registry-keys")
    pair = home / "token.key", home / "token.crt"
    keys.ensure(*pair)
    return pair


@pytest.fixture(scope="session")
def registry_port() -> int:
    return ports.choose()[0]


@pytest.fixture
def registry_settings(settings: Settings, key_files: tuple[Path, Path], registry_port: int) -> Settings:
    settings.REGISTRY_TOKEN_KEY_FILE, settings.REGISTRY_TOKEN_CERT_FILE = key_files
    settings.REGISTRY_URL = f"http://127.0.0.1:{registry_port}"
    return settings


@pytest.fixture
def project_id() -> UUID:
    return uuid4()


@pytest.fixture
def push_credentials(registry_settings: Settings, project_id: UUID) -> PushCredentials:
    return credentials.mint_push(project_id=project_id, namespace="acme", requested_by={"token": "abc"})


@pytest.fixture(scope="session")
def _running_registry(
    live_server: LiveServer, registry_port: int, key_files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """`docker-registry` on what `registry_setup` wrote; answers the path of its log."""
    from django.test import override_settings

    state = tmp_path_factory.mktemp("registry-state")
    with override_settings(REGISTRY_TOKEN_KEY_FILE=key_files[0], REGISTRY_TOKEN_CERT_FILE=key_files[1]):
        call_command(
            "registry_setup",
            state_dir=state,
            port=registry_port,
            realm=f"{live_server.url}/registry/token",
            verbosity=0,
        )
    log = state / "registry.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(
            registries.command(state / "registry" / "config.yml"), stdin=subprocess.DEVNULL, stdout=sink, stderr=sink
        )
    try:
        registries.wait_until_ready(registry_port)
        yield log
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def registry_log(
    _running_registry: Path, live_server: LiveServer, transactional_db: None, registry_settings: Settings
) -> Path:
    """The log of the running registry; asking for it makes it run."""
    return _running_registry


@pytest.fixture
def login(registry_log: Path, registry_port: int) -> Callable[[PushCredentials | PullCredentials], Client]:
    """A client that presents a credential to the running registry."""
    return lambda made: Client(f"127.0.0.1:{registry_port}", made.username, made.password.reveal())


@pytest.fixture
def agent_of(
    login: Callable[[PushCredentials | PullCredentials], Client],
) -> Callable[[str], Client]:
    """A client with fresh push credentials of a project with this namespace."""
    return lambda namespace: login(
        credentials.mint_push(project_id=uuid4(), namespace=namespace, requested_by={"token": "t"})
    )

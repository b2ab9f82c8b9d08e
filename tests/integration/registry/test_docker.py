"""Docker's own client against the registry: its way of asking for tokens is the one that has to work."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from registry import backends, credentials
from registry.ports import PullCredentials, PushCredentials

pytestmark = pytest.mark.django_db(transaction=True)


class Docker:
    """The command line with a private configuration, as agents and nodes use it."""

    def __init__(self, address: str, config: Path):
        self._argv = ["docker", "--host", address, "--config", str(config)]

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([*self._argv, *arguments], input=stdin, capture_output=True, timeout=60, check=False)

    def login(self, made: PushCredentials | PullCredentials, host: str) -> subprocess.CompletedProcess[bytes]:
        return self(
            "login", host, "--username", made.username, "--password-stdin", stdin=made.password.reveal().encode()
        )


@pytest.fixture
def docker(docker_host: str, tmp_path: Path) -> Docker:
    return Docker(docker_host, tmp_path / "docker")


@pytest.fixture
def local_image(docker: Docker, registry_port: int) -> Iterator[Callable[[str], str]]:
    """Makes a one-layer image of a name in the engine, and removes all of them afterwards."""
    made: list[str] = []

    def make(repository: str) -> str:
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w") as archive:
            entry = tarfile.TarInfo("greeting")
            content = os.urandom(64)  # a layer that no other test has pushed
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        name = f"127.0.0.1:{registry_port}/{repository}"
        assert docker("import", "-", name, stdin=raw.getvalue()).returncode == 0
        made.append(name)
        return name

    yield make
    for name in made:
        docker("image", "rm", "--force", name)


def test_docker_logs_in_pushes_and_pulls_what_it_may(
    registry_log: Path, docker: Docker, local_image: Callable[[str], str], registry_port: int
) -> None:
    host = f"127.0.0.1:{registry_port}"
    inside, outside = local_image("acme/web:1"), local_image("globex/web:1")
    made = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    assert docker.login(made, host).returncode == 0

    pushed = docker("push", inside)
    assert pushed.returncode == 0, pushed.stderr
    refused = docker("push", outside)
    assert refused.returncode != 0
    assert b"denied" in refused.stdout + refused.stderr

    digest = backends.resolver().resolve(host, "acme/web", "1", None)
    docker("logout", host)
    docker("image", "rm", "--force", inside)
    by_digest = f"{host}/acme/web@{digest}"
    assert docker("pull", by_digest).returncode != 0

    node = credentials.mint_pull(project_id=uuid4(), repositories=["acme/web"], requested_by={}, ttl_seconds=60)
    assert docker.login(node, host).returncode == 0
    pulled = docker("pull", by_digest)
    assert pulled.returncode == 0, pulled.stderr
    docker("image", "rm", "--force", by_digest)


def test_docker_is_told_why_when_its_login_is_refused(registry_log: Path, docker: Docker, registry_port: int) -> None:
    made = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    credentials.revoke(made.jti, by={"operator": "ada"})
    refused = docker.login(made, f"127.0.0.1:{registry_port}")
    assert refused.returncode != 0
    assert b"unauthorized" in refused.stderr.lower()

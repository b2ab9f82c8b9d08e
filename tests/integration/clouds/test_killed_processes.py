"""Workers that are really killed, with SIGKILL, and others that go on from what is committed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from deployments import signing
from deployments.models import Environment
from deployments.services import attempts
from providers.testing.harnesses import FakeHarness
from tests.clouds import World, cloud

PLACES = ("before create_server", "after create_server", "after poll", "after create_volume", "after attach_volume")


@pytest.fixture
def world(kind: type[FakeHarness], transactional_db: None, installation: None) -> Iterator[World]:
    """Committed rows: another process reads them."""
    with cloud(kind) as made:
        signing.init()
        made.account(poll_seconds="0.05")
        yield made


def killed_at(environment: Environment, place: str) -> None:
    """A worker that advances the environment until it dies there."""
    found = connection.settings_dict
    login = f"{quote(found['USER'])}:{quote(found['PASSWORD'])}@{found['HOST']}:{found['PORT']}"
    given = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "sam_project.settings",
        "DATABASE_URL": f"postgres://{login}/{found['NAME']}",
        "SAM_STATE_DIR": str(settings.STATE_DIR),
        "SAM_REGISTRY_TOKEN_KEY_FILE": str(settings.REGISTRY_TOKEN_KEY_FILE),
        "SAM_REGISTRY_TOKEN_CERT_FILE": str(settings.REGISTRY_TOKEN_CERT_FILE),
    }
    argv = [sys.executable, "-m", "tests.clouds_worker", str(environment.pk), place]
    ended = subprocess.run(argv, env=given, capture_output=True, timeout=90, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()[-2000:]


@pytest.mark.parametrize("place", PLACES)
def test_a_worker_killed_there_leaves_one_server_and_one_volume_to_the_next(world: World, place: str) -> None:
    environment = world.environment()
    release = world.release(environment, data=10)
    killed_at(environment, place)
    world.wait(attempts.LEASE_SECONDS + 1)
    world.live(environment, release)
    assert world.created() == world.created("create_volume") == 1
    assert world.servers(environment) == [world.node(environment).server_id]
    assert world.volumes(environment) == [world.volume(environment).volume_id]
    world.stop(environment, "retire")
    assert world.harness.billed() == 1

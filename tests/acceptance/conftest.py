"""One installation for all acceptance tests; each test has a project of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.acceptance.installation import Installation, Tenant, running


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory, docker_host: str) -> Iterator[Installation]:
    with running(tmp_path_factory.mktemp("installation") / "state") as started:
        yield started


@pytest.fixture
def tenant(installation: Installation) -> Tenant:
    return installation.tenant()

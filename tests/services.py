"""Starts the real PostgreSQL, Redis, registry and Docker Engine that tests need, each once per run and when asked for.

It is a pytest plugin (`-p tests.services`), since Django's settings are read before any conftest.py is: the addresses
are fixed then, and the servers started when the first test wants one. `SAM_TEST_DATABASE_URL` and `SAM_TEST_REDIS_URL`
name running servers to use instead; the workers of pytest-xdist get those of their controller that way.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pytest

from scripts import brokers, databases, engines, ports, privileges, registries

# Fixed and worthless, so that settings are complete and the same in each worker. KEK: 32 bytes, base64.
TEST_ENVIRONMENT = {
    "SAM_SETTINGS_FILE": os.devnull,  # not those of what `make up` runs here
    "SAM_SECRET_KEY": "tests-only-" + "k" * 50,
    "SAM_KEK": "dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk=",
    "SAM_PUBLIC_URL": "http://127.0.0.1:8000",
    "SAM_REGISTRY_URL": "http://127.0.0.1:5000",
}


@dataclass
class Services:
    """The servers of one test run, in a directory that goes with them."""

    root: Path
    password: str = field(default_factory=lambda: secrets.token_hex(16))
    running: list[tuple[subprocess.Popen[bytes], int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database_port, self.redis_port, self.registry_port = ports.choose(3)

    @cached_property
    def postgres(self) -> str:
        """URL of a running PostgreSQL's database `postgres`, as a superuser."""
        if given := os.environ.get("SAM_TEST_DATABASE_URL"):
            return given
        cluster = self.root / "postgres"
        databases.initialise(cluster, password=self.password)
        self._start("postgres", databases.command(cluster, self.database_port, temporary=True), stop_signal=3)
        databases.wait_until_ready(self._database_url)
        return self._database_url

    @cached_property
    def redis(self) -> str:
        """URL of database 0 of a running Redis."""
        if given := os.environ.get("SAM_TEST_REDIS_URL"):
            return given
        configuration = self.root / "redis.conf"
        brokers.write_configuration(configuration, port=self.redis_port, password=self.password, directory=self.root)
        self._start("redis", privileges.ending_with_us(brokers.command(configuration)))
        brokers.wait_until_ready(self.redis_port, self.password)
        return brokers.url(self.redis_port, self.password)

    @cached_property
    def registry(self) -> str:
        """HOST:PORT of a registry that asks nobody's leave."""
        self.start_registry(self.registry_port)
        return f"127.0.0.1:{self.registry_port}"

    @cached_property
    def docker_host(self) -> str:
        """Address of an engine: the one that answers, else one of our own that ends with the run."""
        address = engines.host()
        if engines.answers(address):
            return address
        address = f"unix://{self.root}/docker.sock"
        root = self.root / "docker"
        root.mkdir()
        argv = privileges.ending_with_us(engines.command(root, address), signal_name="TERM")
        engines.wait_until_ready(address, self._start("docker", argv, stop_signal=15), self.root / "docker.log")
        os.environ["DOCKER_HOST"] = address
        return address

    def start_registry(self, port: int, tokens: registries.TokenService | None = None) -> None:
        """One more registry, for instance one that asks a token service. It ends with the run."""
        configuration, storage = self.root / f"registry-{port}.json", self.root / f"registry-{port}"
        registries.write_configuration(
            configuration, port=port, storage=storage, http_secret=self.password, tokens=tokens
        )
        self._start(f"registry-{port}", privileges.ending_with_us(registries.command(configuration)))
        registries.wait_until_ready(port)

    def promise(self) -> None:
        """Tell Django's settings where the servers will be, before any of them runs."""
        os.environ["DATABASE_URL"] = os.environ.get("SAM_TEST_DATABASE_URL") or self._database_url
        os.environ["REDIS_URL"] = os.environ.get("SAM_TEST_REDIS_URL") or brokers.url(self.redis_port, self.password)
        os.environ["SAM_STATE_DIR"] = str(self.root / "state")
        (self.root / "state" / "static").mkdir(parents=True)  # whitenoise warns when it is not there
        os.environ.update(TEST_ENVIRONMENT)

    def start_for_workers(self) -> None:
        """Start what several workers would otherwise each start for themselves."""
        os.environ["SAM_TEST_DATABASE_URL"] = self.postgres
        os.environ["SAM_TEST_REDIS_URL"] = self.redis

    def stop(self) -> None:
        """End every server, the youngest first, and remove what they wrote."""
        for server, stop_signal in reversed(self.running):
            server.send_signal(stop_signal)
            try:
                server.wait(timeout=15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(self.root, ignore_errors=True)

    @property
    def _database_url(self) -> str:
        return databases.url(self.database_port, self.password, "postgres")

    def _start(self, name: str, argv: list[str], stop_signal: int = 9) -> subprocess.Popen[bytes]:
        with (self.root / f"{name}.log").open("wb") as log:
            server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        self.running.append((server, stop_signal))
        return server


_KEY = pytest.StashKey[Services]()


@pytest.hookimpl(wrapper=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, object, object]:
    """Before pytest-django reads the settings."""
    root = Path(tempfile.mkdtemp(prefix="sam-tests-"))
    root.chmod(0o711)  # the account that PostgreSQL runs as passes through
    services = early_config.stash[_KEY] = Services(root)
    services.promise()
    return (yield)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        config.stash[_KEY].start_for_workers()


def pytest_unconfigure(config: pytest.Config) -> None:
    with suppress(KeyError):
        config.stash[_KEY].stop()


@pytest.fixture(scope="session")
def services(pytestconfig: pytest.Config) -> Services:
    """What can be started, for tests that need more than the fixtures below."""
    return pytestconfig.stash[_KEY]


@pytest.fixture(scope="session")
def postgres_url(services: Services) -> str:
    """A running PostgreSQL. Tests marked `django_db` have it without asking."""
    return services.postgres


@pytest.fixture(scope="session")
def redis_url(services: Services) -> str:
    """A running Redis, the one that the settings name."""
    return services.redis


@pytest.fixture(scope="session")
def registry_host(services: Services) -> str:
    """HOST:PORT of a running registry without authentication."""
    return services.registry


@pytest.fixture(scope="session")
def docker_host(services: Services) -> str:
    """Address of a running Docker Engine."""
    return services.docker_host


@pytest.fixture
def free_port() -> int:
    """A loopback port that nobody listens on."""
    return ports.choose()[0]


@pytest.fixture
def redis_database(redis_url: str) -> Iterator[str]:
    """The URL of a Redis with nothing in it, before and after."""
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        yield redis_url
        client.flushall()

"""A running installation as its users have it: operator commands, HTTP, Docker's client, and the files of a node."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests

from tests.images import Image
from tests.registry_client import Client

CHECKOUT = Path(__file__).resolve().parents[2]
TIMEOUT = (3, 70)
START_SECONDS = 180
SETTLE_SECONDS = 120


@dataclass
class Installation:
    """What `make up` runs, found by its up.json alone."""

    state: Path
    facts: dict[str, Any]
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return str(self.facts["url"])

    @property
    def registry(self) -> str:
        return str(self.facts["registry"])

    @property
    def node_dir(self) -> Path:
        return Path(self.facts["node_state_dir"])

    def pid(self, name: str) -> int:
        """The pid of a supervised process as up.json says now; 0 in the moments in which it does not run."""
        return int(json.loads((self.state / "up.json").read_text())["pids"].get(name, 0))

    def operate(self, *words: str, given: bytes = b"", check: bool = True) -> dict[str, Any]:
        """An operator command with --json; answers the object on its last line."""
        run = self.command(*words, "--json", given=given)
        if check and run.returncode != 0:
            raise AssertionError(
                f"manage.py {' '.join(words)} ended with {run.returncode}: {run.stderr.decode()}{run.stdout.decode()}"
            )
        lines = run.stdout.decode().strip().splitlines()
        return {"exit": run.returncode, **(json.loads(lines[-1]) if lines else {})}

    def command(self, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        environment = {**os.environ, "SAM_SETTINGS_FILE": str(self.state / "settings.env")}
        for name in (
            "DATABASE_URL",
            "REDIS_URL",
            "SAM_SECRET_KEY",
            "SAM_KEK",
            "SAM_PUBLIC_URL",
            "SAM_REGISTRY_URL",
            "SAM_STATE_DIR",
        ):
            environment.pop(name, None)
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=CHECKOUT,
            env=environment,
            input=given,
            capture_output=True,
            timeout=60,
        )

    def tenant(self, *, gate: str = "open") -> Tenant:
        """A project with one environment and a token with every scope."""
        slug = f"p{uuid.uuid4().hex[:10]}"
        self.operate("project", "create", slug)
        self.operate("environment", "create", f"{slug}/live", "--gate", gate)
        token = self.operate("agent_token", "create", slug, "--name", "acceptance")["token"]
        return Tenant(self, slug, "live", token)


@dataclass
class Tenant:
    """One project's agent at one environment, over HTTP."""

    installation: Installation
    project: str
    environment: str
    token: str
    _login: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/api/v1/environments/{self.environment}"

    def call(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return requests.request(method, self.installation.url + path, headers=headers, timeout=TIMEOUT, **options)

    def read(self, path: str) -> dict[str, Any]:
        answer = self.call("GET", path)
        answer.raise_for_status()
        return dict(answer.json())

    def state(self) -> dict[str, Any]:
        return self.read(f"{self.path}/")

    def set(self, kind: str, name: str, value: str) -> None:
        self.installation.operate(kind, "set", f"{self.project}/{self.environment}", name, given=value.encode())

    def credentials(self) -> dict[str, Any]:
        answer = self.call("POST", f"{self.path}/registry-credentials/")
        answer.raise_for_status()
        return dict(answer.json())

    def push(self, repository: str, tag: str, image: Image) -> str:
        """Push into the project's namespace; answers the reference by tag."""
        if not self._login:
            self._login = self.credentials()
        name = f"{self._login['namespace']}/{repository}"
        Client(self._login["registry"], self._login["username"], self._login["password"]).push(name, tag, image)
        return f"{self._login['registry']}/{name}:{tag}"

    def submit(self, compose: str, **query: str) -> requests.Response:
        return self.call(
            "POST",
            f"{self.path}/releases/",
            params=query,
            data=compose.encode(),
            headers={"Content-Type": "application/yaml"},
        )

    def release(self, compose: str) -> int:
        answer = self.submit(compose)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["sequence"])

    def settled(self, sequence: int, *, seconds: float = SETTLE_SECONDS) -> dict[str, Any]:
        """The release once its status is settled, by long polls."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            release = self.read(f"{self.path}/releases/{sequence}/?wait=20")
            if release["status"] in ("live", "failed", "superseded", "cancelled", "unknown"):
                return release
        raise AssertionError(
            f"release {sequence} is still {release['status']} after {seconds} s: {json.dumps(release)}"
        )

    def live(self, compose: str) -> int:
        """Release and wait until it is live."""
        sequence = self.release(compose)
        release = self.settled(sequence)
        assert release["status"] == "live", json.dumps(release, indent=1)
        return sequence

    def page(self, path: str = "/") -> str:
        """What the app answers at its public route."""
        answer = requests.get(self.app_url().rstrip("/") + path, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content.decode()

    def app_url(self) -> str:
        return str(next(route["url"] for route in self.state()["routes"] if route["mode"] == "public"))

    def containers(self) -> list[Any]:
        """The environment's containers as Docker sees them, stopped ones too."""
        return list(
            docker.from_env().containers.list(all=True, filters={"label": f"sam.environment={self.state()['id']}"})
        )

    def node_files(self) -> Path:
        return self.installation.node_dir / "environments" / self.state()["id"]


def until(condition: Callable[[], object], *, seconds: float = 30, what: str = "the condition") -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {seconds} s")
        time.sleep(0.1)


@contextmanager
def running(state: Path) -> Iterator[Installation]:
    """Start an installation without the walk, in its own state directory, and stop all of it afterwards."""
    log = (state.parent / "up.log").open("wb")
    # Not the settings of the test run itself: an installation chooses its own.
    ours = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("SAM_") and name not in ours
    }
    environment |= {"SAM_AGENT_TEST_AIDS": "1"}
    argv = [sys.executable, "-m", "scripts.up", "--no-walk", "--state-dir", str(state)]
    process = subprocess.Popen(argv, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        until(lambda: (state / "up.json").exists() or process.poll() is not None, seconds=START_SECONDS, what="up.json")
        assert process.poll() is None, (state.parent / "up.log").read_text()
        yield Installation(state, json.loads((state / "up.json").read_text()), process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()

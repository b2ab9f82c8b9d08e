"""A node for tests of the engine: a state directory, a route proxy of its own, and releases really rendered."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker

from deployments.domain import compose as compose_files
from deployments.domain import references, renderer, routes
from nodeagent import engine
from nodeagent.engine import DockerEngine
from nodeagent.ports import Cancellation, Outcome, Progress
from nodeagent.store import Store
from nodeagent.wire import sealed
from nodeagent.wire.fetch import Payload
from nodeagent.wire.sealed import RegistryLogin, Sealed
from scripts import ports
from tests import signed


@dataclass
class Node:
    """One agent's engine with one environment, and everything that it would find on a machine."""

    root: Path
    docker_host: str
    environment_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    events: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = signed.enrolled_store(self.root / "state")
        self.proxy_dir = self.root / "proxy"
        self.proxy_ports = range(*_block(16, 20000, 21000))
        self.container_ports = range(*_block(64, 21000, 29000))
        self.engine = self.new_engine()
        self.docker = docker.DockerClient(base_url=self.docker_host)

    def new_engine(self) -> DockerEngine:
        """An engine as a restarted agent has it."""
        return engine.build(
            Store(self.root / "state"),
            docker_host=self.docker_host,
            proxy_dir=self.proxy_dir,
            proxy_ports=self.proxy_ports,
            container_ports=self.container_ports,
            volume_root=Path("/mnt"),
        )

    def offer(
        self,
        seq: int,
        document: str,
        *,
        changed_in: Mapping[str, int] | None = None,
        values: Mapping[str, str] | None = None,
        volumes: Mapping[str, Path] | None = None,
        logins: tuple[RegistryLogin, ...] = (),
    ) -> None:
        """Write what the loop would have verified and written: a Compose file as the control plane renders it."""
        parsed = compose_files.parse(document.encode())
        assert parsed.manifest is not None, parsed.problems
        found = references.expressions(parsed.manifest)
        secrets = tuple(references.resolve(expression, values or {}) for expression in found)
        compose = renderer.render(
            parsed.manifest, environment_id=self.environment_id, sequence=seq, changed_in=changed_in
        )
        content = Sealed(self.environment_id, signed.NODE, seq, secrets, logins)
        self.store.write_release(
            self.environment_id,
            seq,
            Payload(
                envelope=b"{}",
                compose=compose,
                routes=routes.routes_json(parsed.manifest),
                volumes=json.dumps([_volume(name, path) for name, path in (volumes or {}).items()]).encode(),
                sealed=sealed.seal(content, bytes(signed.BOX_KEY.public_key)),
            ),
        )

    def volume(self, name: str) -> Path:
        """A volume's directory as the local provider makes it."""
        path = self.root / "volumes" / f"vol-{name}"
        path.mkdir(parents=True)
        marker = {"id": f"vol-{name}", "environment_id": self.environment_id, "name": name}
        (path / "sam-volume.json").write_text(json.dumps(marker))
        return path

    def apply(self, seq: int, *, cancel: Cancellation | None = None) -> Outcome:
        """Apply, and record the outcome as the loop does."""
        outcome = self.engine.apply(
            self.environment_id, seq, cancel=cancel or Cancellation(), report=self.events.append
        )
        self.record(outcome)
        return outcome

    def record(self, outcome: Outcome) -> None:
        self.store.record_receipt(self.environment_id, outcome.seq, json.dumps(dataclasses.asdict(outcome)).encode())

    def recover(self) -> Outcome | None:
        """What a restarted agent does."""
        self.engine = self.new_engine()
        outcome = self.engine.recover(self.environment_id, cancel=Cancellation(), report=self.events.append)
        if outcome is not None:
            self.record(outcome)
        return outcome

    def stop(self, seq: int, action: Any = "stop") -> Outcome:
        empty = Payload(envelope=b"{}", compose=b"", routes=b"", volumes=b"", sealed=b"")
        self.store.write_release(self.environment_id, seq, empty)
        outcome = self.engine.stop(self.environment_id, seq, action, cancel=Cancellation(), report=self.events.append)
        self.record(outcome)
        return outcome

    def tidied(self) -> None:
        """Wait until nothing of an earlier success is left to do."""
        self.engine.settle(self.environment_id)

    def crash_in_apply(self, seq: int, at: str) -> int:
        """Apply in a process that kills itself there; its exit status."""
        environment = {**os.environ, "SAM_AGENT_CRASH_AT": at, "SAM_AGENT_TEST_AIDS": "1"}
        argv = [
            *(sys.executable, "-m", "tests.nodes", str(self.root), self.docker_host, self.environment_id, str(seq)),
            *(str(self.proxy_ports.start), str(self.proxy_ports.stop)),
            *(str(self.container_ports.start), str(self.container_ports.stop)),
        ]
        return subprocess.run(argv, env=environment, timeout=120, check=False).returncode

    # What is there

    def containers(self, service: str | None = None, *, running: bool = True) -> list[Any]:
        labels = [f"sam.environment={self.environment_id}"] + ([f"sam.service={service}"] if service else [])
        found = self.docker.containers.list(all=not running, filters={"label": labels})
        return sorted(found, key=lambda c: c.name)

    def url(self, outcome: Outcome) -> str:
        """Of the one public route."""
        (url,) = [r.url for r in outcome.routes_served if r.url]
        return url

    def close(self) -> None:
        """Leave nothing behind."""
        with contextlib.suppress(Exception):
            self.tidied()
        for container in self.containers(running=False):
            container.remove(force=True)
        for network in self.docker.networks.list(names=[f"sam-{self.environment_id.replace('-', '')[:12]}_default"]):
            network.remove()
        self.engine.hands.mounts.unmount(self.environment_id)
        stop_proxy(self.proxy_dir)
        self.docker.close()


def stop_proxy(proxy_dir: Path) -> None:
    """End a route proxy by its supervisor, and wait until both are gone."""
    pids = [_pid(proxy_dir / name) for name in ("supervisord.pid", "haproxy.pid")]
    with contextlib.suppress(ProcessLookupError):
        if pids[0]:
            os.kill(pids[0], signal.SIGTERM)
    until = time.monotonic() + 15
    while any(pid and Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)


def _pid(path: Path) -> int:
    return int(path.read_text()) if path.exists() else 0


@contextlib.contextmanager
def running_node(docker_host: str) -> Iterator[Node]:
    """A node in a short directory (sockets have short paths), taken away with all that it made."""
    root = Path(tempfile.mkdtemp(prefix="samn"))
    node = Node(root, docker_host)
    try:
        yield node
    finally:
        node.close()
        shutil.rmtree(root)


def get(url: str, path: str = "") -> tuple[int, str]:
    """Status and text of a page."""
    try:
        with urllib.request.urlopen(url.rstrip("/") + "/" + path.lstrip("/"), timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _volume(name: str, path: Path) -> dict[str, Any]:
    return {"name": name, "id": f"vol-{name}", "source": {"kind": "directory", "path": str(path)}, "read_only": False}


def _block(size: int, first: int, last: int) -> tuple[int, int]:
    start, stop = ports.choose_block(size, first=first, last=last)
    return start, stop + 1


def main(arguments: list[str]) -> None:
    """The process that `crash_in_apply` starts."""
    root, docker_host, environment_id, seq, *bounds = arguments
    first, last, lower, upper = (int(bound) for bound in bounds)
    engine.build(
        Store(Path(root) / "state"),
        docker_host=docker_host,
        proxy_dir=Path(root) / "proxy",
        proxy_ports=range(first, last),
        container_ports=range(lower, upper),
        volume_root=Path("/mnt"),
    ).apply(environment_id, int(seq), cancel=Cancellation(), report=lambda progress: None)
    for thread in threading.enumerate():
        if thread.name.startswith("tidy"):
            thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])

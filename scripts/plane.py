"""What the plane consists of on this machine: its programs, their order, and the one address of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from scripts import brokers, databases, engines, keys, places, registries
from scripts.ports import Ports
from scripts.supervisors import MARK, Program, Supervisor, kill_survivors

FIRST = ("postgres", "redis", "web")  # web asks nothing of the others before somebody asks something of it
THEN = ("registry", "agent", "worker", "beat")  # these need what `prepare` makes


@dataclass
class Plane:
    """One checkout's plane. Making it starts nothing."""

    where: places.Places
    ports: Ports

    @cached_property
    def supervisor(self) -> Supervisor:
        return supervisor_of(self.where)

    @property
    def url(self) -> str:
        """What SAM_PUBLIC_URL says, where something in front of the plane answers to another address."""
        return os.environ.get("SAM_PUBLIC_URL") or f"http://127.0.0.1:{self.ports.web}"

    @property
    def registry(self) -> str:
        return self.registry_url.partition("://")[2]

    @property
    def registry_url(self) -> str:
        return os.environ.get("SAM_REGISTRY_URL") or f"http://127.0.0.1:{self.ports.registry}"

    @cached_property
    def database_url(self) -> str:
        """The machine's, if DATABASE_URL names one; else that of our own server."""
        own = databases.url(self.ports.postgres, keys.keep(self.where, "database"), "sam")
        return os.environ.get("DATABASE_URL") or own

    @cached_property
    def redis_url(self) -> str:
        return os.environ.get("REDIS_URL") or brokers.url(self.ports.redis, keys.keep(self.where, "redis"))

    def settings(self) -> dict[str, str]:
        """What the control plane's settings are on this machine."""
        return {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "SAM_STATE_DIR": str(self.where.state),
            "SAM_PUBLIC_URL": self.url,
            "SAM_REGISTRY_URL": self.registry_url,
            "SAM_SECRET_KEY": keys.keep(self.where, "secret"),
            "SAM_KEK": keys.keep(self.where, "kek"),
            "SAM_REGISTRY_TOKEN_KEY_FILE": str(self.where.state / "registry-token.key"),
            "SAM_REGISTRY_TOKEN_CERT_FILE": str(self.where.state / "registry-token.crt"),
            "SAM_LOCAL_NODE_DIR": str(self.where.node),
            "SAM_LOCAL_VOLUMES_DIR": str(self.where.volumes),
            **{name: os.environ[name] for name in ("SAM_CA_FILE", "SAM_ALLOWED_HOSTS") if os.environ.get(name)},
        }

    def write_files(self) -> None:
        """Settings and configurations, as they are for these ports."""
        lines = [f"{name}={value}" for name, value in self.settings().items()]
        places.write_privately(self.where.settings, "\n".join(lines) + "\n")
        brokers.write_configuration(
            self.where.run / "redis.conf",
            port=self.ports.redis,
            password=keys.keep(self.where, "redis"),
            directory=self.where.run,
        )
        self.supervisor.write(self.programs())

    def programs(self) -> list[Program]:
        """Everything supervised, in no order; `postgres` and `redis` only where they are ours."""
        ours = [self._registry(), self._web(), self._worker(), self._beat(), self._agent()]
        if not os.environ.get("DATABASE_URL"):
            ours.append(self._postgres())
        if not os.environ.get("REDIS_URL"):
            ours.append(Program("redis", brokers.command(self.where.run / "redis.conf"), self.where.run))
        return ours

    def _postgres(self) -> Program:
        # SIGINT is PostgreSQL's fast stop; SIGTERM would wait for every client to leave.
        argv = databases.command(self.where.cluster, self.ports.postgres)
        return Program("postgres", argv, Path("/"), stop_signal="INT")

    def _registry(self) -> Program:
        return Program("registry", registries.command(self.where.registry / "config.yml"), self.where.registry)

    def _web(self) -> Program:
        argv = ["-m", "uvicorn", "sam_project.asgi:application", "--host", "127.0.0.1", "--port", str(self.ports.web)]
        # A held heartbeat would otherwise keep a stop waiting for as long as it is held.
        argv += ["--no-access-log", "--no-server-header", "--timeout-graceful-shutdown", "2", "--log-level", "warning"]
        return self._python("web", argv)

    def _worker(self) -> Program:
        # Threads: the tasks wait for PostgreSQL and for clouds, and a second process would cost its own 70 MB.
        argv = ["-m", "celery", "-A", "sam_project", "worker", "--pool", "threads", "--concurrency", "4"]
        argv += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
        return self._python("worker", argv)

    def _beat(self) -> Program:
        argv = ["-m", "celery", "-A", "sam_project", "beat", "--pidfile", "", "--loglevel", "WARNING"]
        return self._python("beat", [*argv, "--schedule", str(self.where.run / "beat")])

    def _agent(self) -> Program:
        argv = ["-m", "nodeagent", "run", "--state-dir", str(self.where.node), "--docker-host", engines.host()]
        argv += ["--proxy-dir", str(self.where.proxy), "--proxy-ports", "{}-{}".format(*self.ports.proxy)]
        return self._python("agent", [*argv, "--container-ports", "{}-{}".format(*self.ports.containers)])

    def _python(self, name: str, argv: list[str]) -> Program:
        return Program(name, [str(places.PYTHON), *argv], places.CHECKOUT, self.pointers())

    def pointers(self) -> dict[str, str]:
        """Where the settings lie. They themselves stay in that file, and out of arguments and environments."""
        return {"SAM_SETTINGS_FILE": str(self.where.settings), "SAM_STATE_DIR": str(self.where.state)}

    def prepare(self) -> None:
        """Registry configuration, database, accounts, sample project. Raises CalledProcessError; it has told why."""
        subprocess.run(
            [sys.executable, "-m", "scripts.prepare"],
            env=os.environ | self.pointers() | {"DATABASE_URL": self.database_url},
            cwd=places.CHECKOUT,
            check=True,
            timeout=120,
        )

    def start_route_proxy(self) -> None:
        """The proxy, under the supervisor of its own that survives everything else.

        Raises CalledProcessError, RuntimeError.
        """
        argv = [sys.executable, "-m", "nodeagent.routes", "init", "--proxy-dir", str(self.where.proxy)]
        argv += ["--ports", "{}-{}".format(*self.ports.proxy)]
        subprocess.run(argv, cwd=places.CHECKOUT, check=True, timeout=20)
        start = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.where.proxy / "supervisord.conf")]
        environment = os.environ | {MARK: route_mark(self.where)}
        started = subprocess.run(start, env=environment, cwd="/", timeout=20, capture_output=True, text=True)
        if started.returncode != 0:
            raise RuntimeError(f"The route proxy's supervisor did not start: {started.stderr.strip()[-500:]}")


def supervisor_of(where: places.Places) -> Supervisor:
    return Supervisor(
        configuration=where.run / "supervisord.conf",
        socket=where.sockets / "supervisor.sock",
        pid_file=where.run / "supervisord.pid",
        log=where.logs / "supervisord.log",
        mark=str(where.state),
    )


def route_mark(where: places.Places) -> str:
    return f"{where.state}:routes"


def stop_route_proxy(where: places.Places) -> None:
    """End the route proxy and its supervisor, also one whose supervisor was killed."""
    kill_survivors(route_mark(where))


def placed_environments(where: places.Places) -> list[str]:
    """Ids of the environments that this checkout's node has ever served."""
    found = {entry.name for entry in (where.node / "environments").glob("*") if entry.is_dir()}
    placements = where.node / "identity/placements.json"
    if placements.exists():
        found |= set(json.loads(placements.read_text()))
    return sorted(found)

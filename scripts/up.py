"""`make up`: starts the plane, walks the path with a sample app, tells where everything is, stays until stopped."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from scripts import clocks, databases, engines, keys, places, ports, prepare, stops, walk
from scripts.plane import FIRST, THEN, Plane

LOOK_SECONDS = 1.0  # how often pids are looked at: a new one has to be in up.json within five
AFTER_ANSWER_SECONDS = 3.0  # EXIT=1 ends no earlier than that after the app answered, for whoever watches it


class StopRequested(BaseException):
    """SIGINT, SIGTERM or SIGHUP came. Not an Exception: no step may take it for its own failure."""


@dataclass
class Foreground:
    """The program that a person looks at: it owns the plane from start to stop."""

    plane: Plane
    clock: clocks.Clock
    walked: walk.Walked | None = None

    def start(self) -> None:
        """Everything up to answering doors. What does not depend on another is started beside it."""
        where, plane = self.plane.where, self.plane
        with ThreadPoolExecutor(max_workers=3) as pool:
            engine = pool.submit(engines.ensure, where.logs / "dockerd.log")
            cluster = pool.submit(self._start_first)
            ready = pool.submit(plane.prepare)
            cluster.result()
            self.clock.tell("PostgreSQL, Redis and web under supervision")
            started = engine.result()
            self.clock.tell(f"Docker Engine {'started' if started else 'found'} at {engines.host()}")
            ready.result()
        plane.start_route_proxy()
        self.clock.tell("route proxy, under its own supervisor")
        plane.supervisor.start_programs(*THEN)
        _wait_for(
            lambda: ports.accepts(plane.ports.web) and ports.accepts(plane.ports.registry), "web and registry", 30
        )
        self.clock.tell("registry, agent, worker and beat too; web answers")

    def _start_first(self) -> None:
        if not os.environ.get("DATABASE_URL"):
            databases.initialise(self.plane.where.cluster, password=keys.keep(self.plane.where, "database"))
        self.plane.supervisor.start(places.PYTHON)
        self.plane.supervisor.start_programs(*self._ours(FIRST))

    def _ours(self, names: tuple[str, ...]) -> list[str]:
        known = {program.name for program in self.plane.programs()}
        return [name for name in names if name in known]

    def walk(self) -> None:
        """The path of an agent, through the public API. Raises WalkError."""
        token = str(places.read_json(self.plane.where.sample)["token"])
        path = walk.Walk(self.plane.url, prepare.ENVIRONMENT, token, self.clock)
        self.walked = path.go(renew=self._renewed_token)

    def _renewed_token(self) -> str:
        subprocess.run(
            [sys.executable, "-m", "scripts.prepare", "--renew-token"],
            env=os.environ | self.plane.pointers(),
            cwd=places.CHECKOUT,
            check=True,
            timeout=60,
        )
        return str(places.read_json(self.plane.where.sample)["token"])

    def write_up(self, pids: dict[str, int] | None = None) -> None:
        """The file by which everything else finds what runs here."""
        places.write_privately(self.plane.where.up, json.dumps(self.facts(pids), indent=1) + "\n")

    def facts(self, pids: dict[str, int] | None = None) -> dict[str, Any]:
        plane = self.plane
        return {
            "url": plane.url,
            "admin": {
                "url": f"{plane.url}/admin/",
                "username": prepare.ADMIN,
                "password": keys.keep(plane.where, "admin"),
            },
            "project": prepare.PROJECT,
            "environment": prepare.ENVIRONMENT,
            "agent_token": places.read_json(plane.where.sample).get("token"),
            "registry": plane.registry,
            "app_url": self.walked.app_url if self.walked else None,
            "node_state_dir": str(plane.where.node),
            "database_url": plane.database_url,
            "redis_url": plane.redis_url,
            "docker_host": os.environ.get("DOCKER_HOST") or None,
            "pids": plane.supervisor.pids() if pids is None else pids,
            "ca": os.environ.get("SAM_CA_FILE") or None,
        }

    def tell(self) -> None:
        """The three lines that a person came for."""
        facts = self.facts({})
        print(f"app: {facts['app_url']}")
        print("admin: {url} {username} {password}".format(**facts["admin"]))
        print(f"token: {facts['agent_token']}", flush=True)

    def stay(self) -> None:
        """Until somebody stops us: keep up.json true, and have the supervisor itself run."""
        told: dict[str, int] = {}
        while True:
            try:
                pids = self.plane.supervisor.pids()
            except OSError:
                self._revive()
                continue
            if pids != told:
                self.write_up(pids)
                told = pids
            time.sleep(LOOK_SECONDS)

    def _revive(self) -> None:
        """The supervisor is gone, and its children run on without one: end them, and start all of it again."""
        print("up: the supervisor is gone; starting it and its programs again", file=sys.stderr, flush=True)
        self.plane.supervisor.stop(seconds=0)
        self.plane.supervisor.start(places.PYTHON)
        self.plane.supervisor.start_programs(*self._ours(FIRST), *THEN)


def main(argv: list[str] | None = None) -> int:
    options = _options(argv)
    where = places.Places(options.state_dir.absolute()) if options.state_dir else places.here()
    try:
        with stops.alone(where):
            return _run(where, options)
    except stops.AlreadyUpError as refusal:
        print(f"up: {refusal}", file=sys.stderr)
        return 2


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make up", description=__doc__)
    parser.add_argument("--exit", action="store_true", help="stop after the walk (make up EXIT=1)")
    parser.add_argument("--no-walk", action="store_true", help="start, and deploy nothing")
    parser.add_argument("--state-dir", type=Path, help="instead of .sam in this checkout")
    return parser.parse_args(argv)


def _run(where: places.Places, options: argparse.Namespace) -> int:
    """0 if the app answered (or no walk was wanted) until we were told to stop, else 1. Nothing runs on after it."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _request_stop)
    threading.Thread(target=stop_with_make, daemon=True).start()
    answered = options.no_walk
    try:
        foreground = _begin(where)
        if not options.no_walk:
            foreground.walk()
            answered = True
        foreground.write_up()
        foreground.tell()
        if options.exit:
            time.sleep(AFTER_ANSWER_SECONDS)
        else:
            foreground.stay()
    except StopRequested:
        print("up: told to stop", flush=True)
    except (RuntimeError, OSError, TimeoutError, subprocess.SubprocessError) as fault:
        print(f"up: {fault}", file=sys.stderr)
        print(f"up: the logs are in {where.logs}", file=sys.stderr)
        answered = False
    finally:
        _end(where)
    return 0 if answered else 1


def _begin(where: places.Places) -> Foreground:
    clock = clocks.Clock("up")
    stops.stop(where)  # what a killed predecessor left running
    where.make()
    plane = Plane(where, ports.keep(where.ports))
    plane.write_files()
    foreground = Foreground(plane, clock)
    foreground.start()
    return foreground


def _end(where: places.Places) -> None:
    """Stop everything, undisturbed by a second Ctrl-C: an impatient one must not leave half of it running."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    clock = clocks.Clock("down")
    stops.stop(where)
    clock.tell("everything is stopped; what it stored stays in " + str(where.state))


def _request_stop(number: int, frame: FrameType | None) -> None:
    raise StopRequested


def _wait_for(condition: Callable[[], bool], what: str, seconds: float) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise TimeoutError(f"{what} did not answer within {seconds:.0f} s.")
        time.sleep(0.05)


def stop_with_make() -> None:
    """Send ourselves SIGINT once the make that runs us was sent one. Never returns; for a thread of its own.

    GNU make passes SIGTERM on to what it runs, but takes it that a terminal sent SIGINT to all of them. One that was
    sent to make alone would leave it waiting for us for ever. Having caught it, make no longer catches it: that is what
    can be seen from here.
    """
    while not _is_interrupted_make(os.getppid()):
        time.sleep(LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGINT)


def _is_interrupted_make(pid: int) -> bool:
    try:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    except (OSError, ValueError):
        return False
    # One that a script runs in the background ignores the signal from the start, and was not interrupted by that.
    heeded = int(status["SigCgt"], 16) | int(status["SigIgn"], 16)
    return status["Name"] in ("make", "gmake") and not heeded >> (signal.SIGINT - 1) & 1


if __name__ == "__main__":
    sys.exit(main())

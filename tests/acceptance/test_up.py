"""`make up` as people have it: the walk, one instance, what comes back, what survives, what a stop leaves."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import docker
import pytest
import requests

from scripts import places, plane, supervisors
from tests.acceptance.installation import CHECKOUT, until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

MEMBERS = {
    "url",
    "admin",
    "project",
    "environment",
    "agent_token",
    "registry",
    "app_url",
    "node_state_dir",
    "database_url",
    "redis_url",
    "docker_host",
    "pids",
    "ca",
}
PROGRAMS = {"web", "worker", "beat", "agent", "postgres", "redis", "registry"}
STOP_SECONDS = 30


class Up:
    """One `make up` in a state directory of its own."""

    def __init__(self, state: Path, *flags: str):
        self.where = places.Places(state)
        self.log = state.parent / f"{state.name}.log"
        with self.log.open("ab") as log:
            self.program = subprocess.Popen(
                argv("up", state, *flags), cwd=CHECKOUT, env=clean(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def facts(self) -> dict[str, object]:
        return dict(json.loads(self.where.up.read_text()))

    def pids(self) -> dict[str, int]:
        found = self.facts()["pids"]
        assert isinstance(found, dict)
        return found

    def is_healthy(self) -> bool:
        try:
            return requests.get(f"{self.facts()['url']}/healthz", timeout=5).ok
        except requests.RequestException:
            return False

    def page(self) -> str:
        return requests.get(str(self.facts()["app_url"]), timeout=5).text

    def wait(self) -> Up:
        """Until it has told where everything is."""
        until(lambda: self.where.up.exists() or self.program.poll() is not None, seconds=120, what="up.json")
        assert self.program.poll() is None, self.log.read_text()
        return self

    def left(self) -> list[int]:
        """Processes of it that run, the route proxy's included."""
        marks = (str(self.where.state), plane.route_mark(self.where))
        return [pid for mark in marks for pid in supervisors.survivors(mark)]

    def containers(self) -> list[str]:
        wanted = set(plane.placed_environments(self.where))
        with closing(docker.from_env()) as client:
            running = client.containers.list(filters={"label": "sam.environment"})
            return [c.name for c in running if c.labels["sam.environment"] in wanted]

    def end(self) -> None:
        """Whatever state it is in: nothing stays."""
        subprocess.run(argv("down", self.where.state, "--clean-data"), cwd=CHECKOUT, env=clean(), timeout=90)
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()


def argv(name: str, state: Path, *flags: str) -> list[str]:
    return [sys.executable, "-m", f"scripts.{name}", "--state-dir", str(state), *flags]


def clean() -> dict[str, str]:
    """The environment without the test run's own settings."""
    ours = ("DATABASE_URL", "REDIS_URL", "DJANGO_SETTINGS_MODULE")
    return {name: value for name, value in os.environ.items() if not name.startswith("SAM_") and name not in ours}


@contextmanager
def started(state: Path, *flags: str) -> Iterator[Up]:
    up = Up(state, *flags)
    try:
        yield up
    finally:
        up.end()


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory, docker_host: str) -> Iterator[Up]:
    """One that has walked, for tests that leave it as it was."""
    with started(tmp_path_factory.mktemp("walked") / "state") as up:
        yield up.wait()


@pytest.fixture
def bare(tmp_path: Path, docker_host: str) -> Iterator[Up]:
    """One without an app, for tests that end it."""
    with started(tmp_path / "state", "--no-walk") as up:
        yield up.wait()


def test_the_walk_alone_ends_with_status_0_its_three_lines_and_nothing_running(
    tmp_path: Path, docker_host: str
) -> None:
    with started(tmp_path / "state", "--exit") as up:
        assert up.program.wait(timeout=150) == 0, up.log.read_text()
        lines = [line.partition(":")[0] for line in up.log.read_text().splitlines()]
        assert [name for name in lines if name in ("app", "admin", "token")] == ["app", "admin", "token"]
        assert up.left() == []
        assert up.containers() == []
        assert not up.where.up.exists()


def test_up_json_has_its_members_and_is_private(walked: Up) -> None:
    assert set(walked.facts()) == MEMBERS
    assert set(walked.pids()) == PROGRAMS
    assert stat.S_IMODE(walked.where.up.stat().st_mode) == 0o600


def test_a_second_one_in_the_same_place_says_so_and_ends_with_status_2(walked: Up) -> None:
    second = subprocess.run(
        argv("up", walked.where.state), cwd=CHECKOUT, env=clean(), capture_output=True, text=True, timeout=20
    )
    assert second.returncode == 2
    assert f"pid {walked.program.pid}" in second.stderr
    assert "sample" not in second.stdout
    assert walked.page()


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_killed_process_is_back_within_five_seconds_and_the_file_says_so(walked: Up, name: str) -> None:
    old = walked.pids()[name]
    os.kill(old, signal.SIGKILL)
    until(lambda: walked.pids().get(name) not in (None, old), seconds=5, what=f"the new {name}")
    command = Path(f"/proc/{walked.pids()[name]}/cmdline").read_text()
    assert not command.startswith(("sh", "/bin/sh", "bash"))
    until(walked.is_healthy, seconds=40, what="health")


def test_the_apps_page_answers_while_everything_else_is_killed(walked: Up) -> None:
    """All pids, their children, and the supervisor: the route proxy depends on none of them."""
    over, lost = threading.Event(), []

    def look() -> None:
        while not over.wait(0.05):
            try:
                assert "version" in walked.page()
            except (requests.RequestException, AssertionError) as loss:
                lost.append(str(loss))

    before = walked.pids()
    watcher = threading.Thread(target=look)
    watcher.start()
    for pid in supervisors.survivors(str(walked.where.state)):
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(walked.pids().get(name, pid) != pid for name, pid in before.items()), seconds=15, what="all back")
    until(walked.is_healthy, seconds=40, what="health")
    over.set()
    watcher.join()
    assert lost == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_of_it_within_thirty_seconds(bare: Up, number: signal.Signals) -> None:
    began = time.monotonic()
    bare.program.send_signal(number)
    bare.program.wait(timeout=STOP_SECONDS)
    assert time.monotonic() - began < STOP_SECONDS
    assert bare.left() == []
    assert not bare.where.up.exists()


def test_down_stops_it_from_elsewhere(bare: Up) -> None:
    down = subprocess.run(argv("down", bare.where.state), cwd=CHECKOUT, env=clean(), timeout=STOP_SECONDS)
    assert down.returncode == 0
    assert bare.program.wait(timeout=5) == 0
    assert bare.left() == []


def test_down_stops_what_a_killed_foreground_left(bare: Up) -> None:
    bare.program.kill()
    bare.program.wait()
    assert bare.left() != []
    subprocess.run(argv("down", bare.where.state), cwd=CHECKOUT, env=clean(), timeout=STOP_SECONDS, check=True)
    assert bare.left() == []
    assert not bare.where.up.exists()


def test_sigint_to_make_alone_is_noticed(tmp_path: Path) -> None:
    """GNU make waits for a child that never heard of it; the child has to see that make catches it no longer."""
    makefile = tmp_path / "Makefile"
    waiter = "from scripts import up\nup.stop_with_make()\n"
    (tmp_path / "waiter.py").write_text(waiter)
    makefile.write_text(f"wait:\n\t@exec {sys.executable} {tmp_path}/waiter.py\n")
    with subprocess.Popen(["make", "-f", str(makefile), "wait"], cwd=CHECKOUT, stderr=subprocess.DEVNULL) as make:
        children = Path(f"/proc/{make.pid}/task/{make.pid}/children")
        until(lambda: "waiter" in "".join(Path(f"/proc/{p}/cmdline").read_text() for p in children.read_text().split()))
        time.sleep(1)
        make.send_signal(signal.SIGINT)
        make.wait(timeout=10)

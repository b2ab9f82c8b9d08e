"""What is supervised comes back, what outlives its supervisor is found, and a stop leaves nothing."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scripts.supervisors import Program, Supervisor, survivors


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    """A running one with a sleeper that is not started yet."""
    made = Supervisor(
        configuration=tmp_path / "supervisord.conf",
        socket=tmp_path / "s.sock",
        pid_file=tmp_path / "s.pid",
        log=tmp_path / "s.log",
        mark=str(tmp_path),
    )
    made.write(
        [Program("sleeper", ["sleep", "300"], Path("/")), Program("shell", ["sh", "-c", "sleep 300 & wait"], tmp_path)]
    )
    made.start(Path(sys.executable))
    yield made
    made.stop(seconds=3)


def wait_for(condition: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"not within {seconds} s"
        time.sleep(0.05)


def test_nothing_runs_before_it_is_told_to(supervisor: Supervisor) -> None:
    assert supervisor.pids() == {}


def test_a_killed_program_is_back_within_five_seconds_with_a_new_pid(supervisor: Supervisor) -> None:
    supervisor.start_programs("sleeper")
    wait_for(lambda: "sleeper" in supervisor.pids())
    first = supervisor.pids()["sleeper"]
    for _ in range(3):
        os.kill(supervisor.pids()["sleeper"], signal.SIGKILL)
        before = first
        wait_for(lambda before=before: supervisor.pids().get("sleeper", before) != before)
        first = supervisor.pids()["sleeper"]


def test_a_pid_is_that_of_the_program_itself(supervisor: Supervisor) -> None:
    supervisor.start_programs("sleeper")
    wait_for(lambda: Path(f"/proc/{supervisor.pids().get('sleeper', 0)}/comm").exists())
    wait_for(lambda: Path(f"/proc/{supervisor.pids()['sleeper']}/comm").read_text() == "sleep\n")


def test_a_program_stopped_on_purpose_stays_stopped(supervisor: Supervisor) -> None:
    supervisor.start_programs("sleeper")
    wait_for(lambda: len(survivors(supervisor.mark)) == 2)
    time.sleep(0.2)  # a signal between fork and exec would be taken by the handler that the child has from supervisord
    supervisor.stop_programs("sleeper")
    wait_for(lambda: supervisor.pids() == {})
    time.sleep(1.5)
    assert supervisor.pids() == {}


def test_what_outlives_a_killed_supervisor_is_found_and_ended(supervisor: Supervisor) -> None:
    supervisor.start_programs("sleeper", "shell")
    wait_for(lambda: len(survivors(supervisor.mark)) == 4)  # it, two programs, and the shell's own child
    os.kill(int(supervisor.pid_file.read_text()), signal.SIGKILL)
    wait_for(lambda: not supervisor.answers())
    assert len(survivors(supervisor.mark)) == 3
    supervisor.stop(seconds=0)
    assert survivors(supervisor.mark) == []

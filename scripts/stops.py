"""Stops all that `make up` started, whichever part of it is still alive, within thirty seconds."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from scripts import containers, places, plane

FOREGROUND_SECONDS = 35  # its own thirty, and a little: then it is stuck, and stopped from here


class AlreadyUpError(RuntimeError):
    """Another program of this checkout starts, runs or stops the plane."""

    code = "up.already"
    retryable = False

    def __init__(self, pid: int):
        self.pid = pid

    def __str__(self) -> str:
        return f"`make up` runs in this checkout already (pid {self.pid}). Stop it with `make down`, or use it."


@contextmanager
def alone(where: places.Places) -> Iterator[None]:
    """Be the only one who starts or stops here, until we end, however that happens. Raises AlreadyUpError."""
    where.state.mkdir(parents=True, exist_ok=True)
    with where.lock.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUpError(holder(where)) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def holder(where: places.Places) -> int:
    """The pid in the lock file; 0 if it is being written just now."""
    with suppress(OSError, ValueError):
        return int(where.lock.read_text())
    return 0


def stop(where: places.Places) -> None:
    """Everything, in the order in which nothing complains about what is gone already."""
    supervisor = plane.supervisor_of(where)
    environment_ids = plane.placed_environments(where)
    if supervisor.answers():
        supervisor.stop_programs("agent", "beat", "worker", "web")  # first the agent: it starts containers that stop
    containers.stop(environment_ids)
    plane.stop_route_proxy(where)
    supervisor.stop(seconds=6)
    containers.unmount(environment_ids)
    where.up.unlink(missing_ok=True)


def stop_from_elsewhere(where: places.Places) -> bool:
    """What `make down` does: ask the foreground program, or do its work if it is gone. Whether anything was running."""
    try:
        with alone(where):
            was_up = where.up.exists() or plane.supervisor_of(where).answers()
            stop(where)
            return was_up
    except AlreadyUpError as found:
        _ask(found.pid, where)
        return True


def _ask(pid: int, where: places.Places) -> None:
    os.kill(pid, signal.SIGTERM)
    until = time.monotonic() + FOREGROUND_SECONDS
    while time.monotonic() < until:
        with suppress(AlreadyUpError), alone(where):
            return
        time.sleep(0.1)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    stop(where)

"""Chooses loopback ports that this machine has free."""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from pathlib import Path

FIRST, LAST = 10_000, 20_999  # single ports; below the kernel's ephemeral range, where any client could take ours


class NoPortError(RuntimeError):
    """Everything in a range is taken."""

    code = "install.no_port"
    retryable = True

    def __init__(self, first: int, last: int, size: int):
        self.first, self.last, self.size = first, last, size

    def __str__(self) -> str:
        return f"No {self.size} free ports between {self.first} and {self.last}. See who has them with `ss -ltnp`, and stop one."


def is_free(port: int) -> bool:
    """Whether a server could listen here now, on loopback and on every address."""
    for host in ("127.0.0.1", "0.0.0.0"):  # noqa: S104 - asked and closed at once, never listened on
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server would: TIME_WAIT is no tenant
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def choose(count: int = 1) -> list[int]:
    """Distinct free ports, picked at random so that two checkouts that start together rarely meet. Raises NoPortError."""
    found = [port for port in _shuffled(range(FIRST, LAST + 1), few=400) if is_free(port)]
    if len(found) < count:
        raise NoPortError(FIRST, LAST, count)
    return found[:count]


def choose_block(size: int, *, first: int, last: int) -> tuple[int, int]:
    """A run of `size` ports with nobody listening in it, as (first, last). Raises NoPortError."""
    taken = listening()
    for start in _shuffled(range(first, last - size + 2, size)):
        if not any(port in taken for port in range(start, start + size)):
            return start, start + size - 1
    raise NoPortError(first, last, size)


def listening() -> set[int]:
    """Every TCP port that somebody listens on in this network namespace."""
    return {
        int(fields[1].rpartition(":")[2], 16) for fields in _sockets() if fields[3] == "0A"
    }  # proc(5): 0A is LISTEN


def accepts(port: int) -> bool:
    """Whether something answers a connection on loopback now."""
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex(("127.0.0.1", port)) == 0


def _sockets() -> Iterator[list[str]]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if table.exists():
            yield from (line.split() for line in table.read_text().splitlines()[1:])


def _shuffled(numbers: range, few: int | None = None) -> list[int]:
    return random.sample(numbers, min(few or len(numbers), len(numbers)))

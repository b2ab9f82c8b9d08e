"""Chooses loopback ports that this machine has free, and keeps them, so that URLs stay what they were."""

from __future__ import annotations

import itertools
import json
import random
import socket
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FIRST, LAST = 10_000, 18_999  # single ports; below the kernel's ephemeral range, where any client could take ours
PROXY = (19_000, 20_999)  # where apps' sites listen
CONTAINERS = (21_000, 29_999)  # where containers do, behind the proxy
SITES = 128
CONTAINERS_PER_NODE = 500


class NoPortError(RuntimeError):
    """Everything in a range is taken."""

    code = "install.no_port"
    retryable = True

    def __init__(self, first: int, last: int, size: int):
        self.first, self.last, self.size = first, last, size

    def __str__(self) -> str:
        return f"No {self.size} free ports between {self.first} and {self.last}; `ss -ltnp` says who has them."


class RegistryPortTakenError(RuntimeError):
    """Somebody else listens on the port that this checkout's registry has for good."""

    code = "install.registry_port"
    retryable = True

    def __init__(self, port: int):
        self.port = port

    def __str__(self) -> str:
        return (
            f"Port {self.port} is this checkout's registry, and named by every image that was released, but something "
            f"else listens there. See what with `ss -ltnp 'sport = :{self.port}'` and stop it, or give up the releases "
            "made here with `make clean-data`."
        )


@dataclass(frozen=True, slots=True)
class Ports:
    """What one checkout listens on. Ranges are (first, last)."""

    web: int
    registry: int
    postgres: int
    redis: int
    proxy: tuple[int, int]
    containers: tuple[int, int]


def keep(path: Path) -> Ports:
    """The ports in a file, made at the first call; those taken by somebody else since are chosen anew, save one.

    The registry's stays for good, since pinned images name it. Raises RegistryPortTakenError, NoPortError.
    """
    known = json.loads(path.read_text()) if path.exists() else {}
    if known and not is_free(known["registry"]):
        raise RegistryPortTakenError(known["registry"])
    ports = _completed({name: value for name, value in known.items() if _is_ours(value)})
    path.write_text(json.dumps(asdict(ports), indent=1) + "\n")
    return ports


def load(path: Path) -> Ports:
    """The ports that were kept, as they are, whoever listens there."""
    return _completed(json.loads(path.read_text()))


def _is_ours(value: int | list[int]) -> bool:
    if isinstance(value, int):
        return is_free(value)
    return not listening() & set(range(value[0], value[1] + 1))


def _completed(known: dict[str, Any]) -> Ports:
    missing = [name for name in ("web", "registry", "postgres", "redis") if name not in known]
    chosen: dict[str, Any] = known | dict(zip(missing, choose(len(missing)), strict=True))
    chosen.setdefault("proxy", choose_block(SITES, first=PROXY[0], last=PROXY[1]))
    chosen.setdefault("containers", choose_block(CONTAINERS_PER_NODE, first=CONTAINERS[0], last=CONTAINERS[1]))
    ranges: dict[str, Any] = {name: tuple(chosen.pop(name)) for name in ("proxy", "containers")}
    return Ports(**chosen, **ranges)


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
    """Distinct free ports, at random, so that two checkouts that start together rarely meet. Raises NoPortError."""
    candidates = random.sample(range(FIRST, LAST + 1), 400)
    found = list(itertools.islice(filter(is_free, candidates), count))
    if len(found) < count:
        raise NoPortError(FIRST, LAST, count)
    return found


def choose_block(size: int, *, first: int, last: int) -> tuple[int, int]:
    """A run of `size` ports with nobody listening in it, as (first, last). Raises NoPortError."""
    taken = listening()
    starts = range(first, last - size + 2, size)
    for start in random.sample(starts, len(starts)):
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

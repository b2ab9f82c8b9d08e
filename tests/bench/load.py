"""Requests at a steady rate while releases happen: how many are lost. Half on new connections, half on kept ones."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from scripts import places
from tests.acceptance.installation import Tenant
from tests.bench import apps, releases

PER_SECOND = 80
KEPT_CONNECTIONS = 8
UPDATES = 3
SECONDS = 25
PATIENCE_SECONDS = 5


def measure(tenant: Tenant) -> dict[str, Any]:
    """Load from another process during several updates."""
    login = tenant.credentials()
    releases.release(tenant, apps.push(tenant, login, "loaded", "before"))
    argv = [sys.executable, "-m", "tests.bench.load", tenant.app_url(), str(SECONDS)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=places.CHECKOUT) as generator:
        time.sleep(1)
        for number in range(UPDATES):
            releases.release(tenant, apps.push(tenant, login, "loaded", f"during-{number}"))
            time.sleep(1)
        told, _ = generator.communicate(timeout=SECONDS + 30)
    return {"what": f"{UPDATES} updates under load", "per_second": PER_SECOND, **json.loads(told)}


@dataclass
class Tally:
    """What became of the requests."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)
    versions: set[str] = field(default_factory=set)
    slowest_seconds: float = 0.0

    def count(self, body: bytes, seconds: float) -> None:
        self.answered += 1
        self.versions.add(body.split(maxsplit=1)[0].decode(errors="replace"))
        self.slowest_seconds = max(self.slowest_seconds, seconds)

    def as_json(self) -> dict[str, Any]:
        return {
            "answered": self.answered,
            "lost": len(self.lost),
            "how": sorted(set(self.lost))[:5],
            "versions_seen": sorted(self.versions),
            "slowest_ms": round(self.slowest_seconds * 1000),
        }


class Connection:
    """HTTP/1.1 by hand: a client library would send a lost request again, and hide what is counted here."""

    def __init__(self, url: str):
        place = urlsplit(url)
        self._host, self._port = place.hostname or "", place.port or 80
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, *, keep: bool) -> bytes:
        """The body of /. Raises OSError, EOFError or ValueError for anything but a complete 200."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        kind = "keep-alive" if keep else "close"
        writer.write(f"GET / HTTP/1.1\r\nHost: {self._host}:{self._port}\r\nConnection: {kind}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        status = head.split(maxsplit=2)[1]
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.startswith("content-length:"))
        body = await reader.readexactly(length)
        if status != "200":
            raise ValueError(f"status {status}")
        if not keep or "connection: close" in head:
            self.close()
        return body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def generate(url: str, seconds: float) -> Tally:
    """A request every 1/80 s, whether or not earlier ones were answered, as strangers would send them."""
    tally = Tally()
    kept: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(KEPT_CONNECTIONS):
        kept.put_nowait(Connection(url))
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * PER_SECOND)):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            group.create_task(_once(url, tally, kept if number % 2 else None))
    return tally


async def _once(url: str, tally: Tally, kept: asyncio.Queue[Connection] | None) -> None:
    connection = await kept.get() if kept else Connection(url)
    began = time.monotonic()
    try:
        body = await asyncio.wait_for(connection.get(keep=kept is not None), PATIENCE_SECONDS)
        tally.count(body, time.monotonic() - began)
    except (OSError, EOFError, ValueError, StopIteration, TimeoutError) as loss:
        kind = "kept" if kept else "new"
        tally.lost.append(f"{kind}: {type(loss).__name__} {loss}")
        connection.close()
    finally:
        if kept:
            kept.put_nowait(connection)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(generate(sys.argv[1], float(sys.argv[2]))).as_json()))

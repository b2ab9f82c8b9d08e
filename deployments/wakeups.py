"""Wakes those who wait, by PostgreSQL's NOTIFY, sent with the commit that gives the reason: pull and polls are quick.

A notification is only a nudge. Whoever wakes, or never does, reads the rows again; a lost one costs a poll, no truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import psycopg
from django.db import connection

log = logging.getLogger(__name__)
_CHANNEL = "sam_wakeups"
_RECONNECT_SECONDS = 1.0

Wake = Callable[[float], Awaitable[bool]]


def notify(*topics: str) -> None:
    """Wake everybody who listens to one of the topics, when the caller's transaction commits."""
    with connection.cursor() as cursor:
        for topic in topics:
            cursor.execute("SELECT pg_notify(%s, %s)", [_CHANNEL, topic])


class _Hub:
    """One listening connection per event loop, shared by all requests of this process."""

    def __init__(self) -> None:
        self._waiting: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()

    async def start(self) -> None:
        if self._listener is None or self._listener.done():
            self._ready.clear()
            self._listener = asyncio.create_task(self._listen())
        # A database that is away must not hold the caller up: it falls back to its own polling.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ready.wait(), timeout=2)

    async def _listen(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**_address(), autocommit=True) as wire:
                    await wire.execute(f"LISTEN {_CHANNEL}")
                    self._ready.set()
                    self._wake_all()  # what was notified while nobody listened
                    async for notice in wire.notifies():
                        for event in self._waiting.get(notice.payload, ()):
                            event.set()
            except psycopg.Error as fault:
                log.warning("the wake-up connection is lost, waiting requests poll meanwhile: %s", type(fault).__name__)
                await asyncio.sleep(_RECONNECT_SECONDS)

    def _wake_all(self) -> None:
        for events in self._waiting.values():
            for event in events:
                event.set()

    def add(self, topic: str, event: asyncio.Event) -> None:
        self._waiting[topic].add(event)

    def remove(self, topic: str, event: asyncio.Event) -> None:
        self._waiting[topic].discard(event)
        if not self._waiting[topic]:
            del self._waiting[topic]


def _address() -> dict[str, Any]:
    parameters = connection.get_connection_params()
    kept = ("host", "port", "dbname", "user", "password", "sslmode")
    return {name: parameters[name] for name in kept if parameters.get(name)}


_hubs: dict[asyncio.AbstractEventLoop, _Hub] = {}


async def _hub() -> _Hub:
    loop = asyncio.get_running_loop()
    for closed in [known for known in _hubs if known.is_closed()]:
        del _hubs[closed]
    hub = _hubs.setdefault(loop, _Hub())
    await hub.start()
    return hub


@contextlib.asynccontextmanager
async def listening(*topics: str) -> AsyncIterator[Wake]:
    """Listen from here on: read the rows inside, then `await wake(seconds)`; nothing between the two is missed.

    `wake` answers whether it was woken (True) or ran out of time (False), and can be awaited again.
    """
    hub, event = await _hub(), asyncio.Event()
    for topic in topics:
        hub.add(topic, event)

    async def wake(timeout_seconds: float) -> bool:
        try:
            await asyncio.wait_for(event.wait(), timeout=max(timeout_seconds, 0))
        except TimeoutError:
            return False
        event.clear()
        return True

    try:
        yield wake
    finally:
        for topic in topics:
            hub.remove(topic, event)

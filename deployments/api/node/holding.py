"""Heartbeats that are held open: without a database connection meanwhile, and answered when there is news."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from nodeagent.wire.heartbeat import Heartbeat

from ... import wakeups
from ...models import Node
from ...services import wanted
from ...services.wanted import Wanted

MAX_WAIT_SECONDS = 55
# A wake-up can be lost; the rows cannot.
_LOOK_EVERY_SECONDS = 10.0
_TELL_AGAIN_AFTER_SECONDS = 1.0

Answer = TypeVar("Answer")


class Told:
    """What each node was told a moment ago by this process, so that one that cannot act on it is not told in a loop."""

    def __init__(self) -> None:
        self._told: dict[UUID, tuple[frozenset[str], float]] = {}

    def seconds_to_hold(self, node_id: UUID, news: frozenset[str], *, now: float) -> float:
        """0: answer now. More: the same was told just now, tell it again then. Infinity: there is nothing to tell."""
        if not news:
            return math.inf
        told, at = self._told.get(node_id, (frozenset(), -math.inf))
        return max(at + _TELL_AGAIN_AFTER_SECONDS - now, 0.0) if news <= told else 0.0

    def tell(self, node_id: UUID, news: frozenset[str], *, now: float) -> None:
        """Remember what the answer that is being sent says."""
        if news:
            self._told[node_id] = (news, now)
        else:
            self._told.pop(node_id, None)


_told = Told()


async def hold(node: Node, heartbeat: Heartbeat, *, wait_seconds: float) -> Wanted:
    """What is wanted of the node, as soon as any of it is news to the node, or when the time is over."""
    ends = time.monotonic() + wait_seconds
    async with wakeups.listening(f"node:{node.pk}") as wake:
        while True:
            found = await in_thread(wanted.of_node, node)
            news, now = wanted.news(found, heartbeat), time.monotonic()
            pause = min(_told.seconds_to_hold(node.pk, news, now=now), ends - now, _LOOK_EVERY_SECONDS)
            if pause <= 0:
                _told.tell(node.pk, news, now=now)
                return found
            await wake(pause)


async def in_thread(call: Callable[..., Answer], *arguments: Any, **names: Any) -> Answer:
    """The call's answer; its database connection goes back to the pool, which has few, and hundreds are held."""

    def released() -> Answer:
        try:
            return call(*arguments, **names)
        finally:
            close_old_connections()

    return await sync_to_async(released)()

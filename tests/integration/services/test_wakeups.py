from __future__ import annotations

import asyncio
import time

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import transaction

from deployments import wakeups


def _notify(topic: str, *, fail: bool = False) -> None:
    with transaction.atomic():
        wakeups.notify(topic)
        if fail:
            transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_a_commit_wakes_who_listens_within_a_tenth_of_a_second() -> None:
    async def scenario() -> float:
        async with wakeups.listening("node:1") as wake:
            asyncio.get_running_loop().call_later(0.05, lambda: None)
            waiting = asyncio.create_task(wake(5))
            await asyncio.sleep(0.05)
            sent = time.monotonic()
            await sync_to_async(_notify)("node:1")
            assert await waiting
            return time.monotonic() - sent

    assert async_to_sync(scenario)() < 0.5


@pytest.mark.django_db(transaction=True)
def test_a_notification_between_reading_and_waiting_is_not_missed() -> None:
    async def scenario() -> bool:
        async with wakeups.listening("node:2") as wake:
            await sync_to_async(_notify)("node:2")
            await asyncio.sleep(0.2)
            return await wake(0.5)

    assert async_to_sync(scenario)()


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_rolled_back_wakes_nobody_and_other_topics_neither() -> None:
    async def scenario() -> bool:
        async with wakeups.listening("node:3") as wake:
            await sync_to_async(_notify)("node:3", fail=True)
            await sync_to_async(_notify)("node:4")
            return await wake(0.4)

    assert not async_to_sync(scenario)()

"""Long polls and log queries: held until there is something to say, on the event loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections, transaction
from django.test import AsyncClient

from deployments import wakeups
from deployments.api.agent.views import logs as logs_view
from deployments.domain.states import ReleaseStatus
from deployments.models import Environment, LogQuery
from tests.callers import Caller, accepted, assert_problem, became
from tests.situations import placed

pytestmark = pytest.mark.django_db(transaction=True)
RELEASE = "/api/v1/environments/production/releases/1/"
LOGS = "/api/v1/environments/production/logs/"


def run(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Each call in a request context of its own, as the ASGI server gives it, all on one event loop."""

    async def alone(call: Callable[[], Awaitable[Any]]) -> Any:
        async with ThreadSensitiveContext():
            try:
                return await call()
            finally:
                await sync_to_async(connections.close_all)()

    async def together() -> list[Any]:
        return list(await asyncio.gather(*(alone(call) for call in calls)))

    return asyncio.run(asyncio.wait_for(together(), timeout=60))


def get(caller: Caller, path: str) -> Callable[[], Awaitable[Any]]:
    async def call() -> Any:
        began = time.monotonic()
        response = await AsyncClient().get(path, headers={"Authorization": f"Bearer {caller.text}"})
        response.took = time.monotonic() - began  # type: ignore[attr-defined]
        return response

    return call


def after(seconds: float, act: Callable[[], object]) -> Callable[[], Awaitable[Any]]:
    async def call() -> None:
        await asyncio.sleep(seconds)
        await sync_to_async(act)()

    return call


def moved(release: Any, status: ReleaseStatus) -> Callable[[], None]:
    def move() -> None:
        with transaction.atomic():
            became(release, status)
            wakeups.notify(f"release:{release.pk}")

    return move


def test_a_settled_release_is_answered_at_once(caller: Caller, environment: Environment) -> None:
    became(accepted(environment), ReleaseStatus.CANCELLED)
    (response,) = run(get(caller, f"{RELEASE}?wait=30"))
    assert json.loads(response.content)["status"] == "cancelled"
    assert response.took < 5


def test_a_long_poll_ends_as_soon_as_the_status_has_changed(caller: Caller, environment: Environment) -> None:
    release = accepted(environment)
    response, _ = run(get(caller, f"{RELEASE}?wait=30"), after(1.0, moved(release, ReleaseStatus.WAITING)))
    assert json.loads(response.content)["status"] == "waiting"
    assert response["Cache-Control"] == "no-store"
    assert 0.9 < response.took < 4


def test_a_long_poll_without_news_ends_after_its_time(caller: Caller, environment: Environment) -> None:
    accepted(environment)
    (response,) = run(get(caller, f"{RELEASE}?wait=1"))
    assert json.loads(response.content)["status"] == "accepted"
    assert 1 <= response.took < 4


def test_sixty_held_polls_share_one_wake_up(caller: Caller, environment: Environment) -> None:
    release = accepted(environment)
    polls = [get(caller, f"{RELEASE}?wait=30")] * 60
    *responses, _ = run(*polls, after(4.0, moved(release, ReleaseStatus.WAITING)))
    assert {json.loads(response.content)["status"] for response in responses} == {"waiting"}


@pytest.mark.parametrize("wait", ["abc", "-1", "61", "1.5", ""])
def test_a_wait_that_is_none_is_refused_by_name(caller: Caller, environment: Environment, wait: str) -> None:
    accepted(environment)
    body = assert_problem(run(get(caller, f"{RELEASE}?wait={wait}"))[0], 400, "request.parameter")
    assert "wait" in body["detail"]


def test_a_foreign_token_is_held_for_nothing(foreigner: Caller, environment: Environment) -> None:
    accepted(environment)
    (response,) = run(get(foreigner, f"{RELEASE}?wait=30"))
    assert_problem(response, 404, "not_found")
    assert response.took < 5


def answered(answer: dict[str, Any]) -> Callable[[], None]:
    def store() -> None:
        with transaction.atomic():
            query = LogQuery.objects.get()
            LogQuery.objects.filter(pk=query.pk).update(answer=answer)
            wakeups.notify(f"log:{query.pk}")

    return store


def test_a_service_that_nothing_has_is_refused_by_name_and_no_node_is_asked(
    caller: Caller, environment: Environment
) -> None:
    placed(environment)
    accepted(environment)
    (response,) = run(get(caller, f"{LOGS}?service=wbe"))
    assert "its services are web" in assert_problem(response, 404, "service.unknown")["detail"]
    assert not LogQuery.objects.exists()


def test_logs_are_the_nodes_answer(caller: Caller, environment: Environment) -> None:
    placed(environment)
    accepted(environment)
    line = {"at": "2030-01-01T00:00:00Z", "service": "web", "stream": "stdout", "text": "hello"}
    answer = {"lines": [line], "next": "c1", "error": ""}
    response, _ = run(get(caller, f"{LOGS}?service=web&limit=5"), after(1.0, answered(answer)))
    assert response.status_code == 200, response.content
    assert json.loads(response.content) == {"lines": [line], "next": "c1"}
    assert not LogQuery.objects.exists()


def test_a_node_that_cannot_read_the_logs_says_why(caller: Caller, environment: Environment) -> None:
    placed(environment)
    answer = {"lines": [], "next": None, "error": "There is no service wbe."}
    response, _ = run(get(caller, LOGS), after(0.5, answered(answer)))
    assert "There is no service wbe." in assert_problem(response, 502, "logs.failed")["detail"]


def test_a_node_that_does_not_answer_is_503_and_retryable(
    caller: Caller, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs_view, "ANSWER_WITHIN_SECONDS", 1)
    placed(environment)
    (response,) = run(get(caller, LOGS))
    assert assert_problem(response, 503, "node.unavailable")["retryable"]
    assert response["Retry-After"]


def test_without_a_node_there_are_no_logs(caller: Caller) -> None:
    (response,) = run(get(caller, LOGS))
    assert_problem(response, 503, "node.unavailable")


@pytest.mark.parametrize(
    "query",
    ["service=..%2f", "since=yesterday", "limit=0", "limit=1001", "cursor=" + "x" * 201, "tail=5", "cursor=%00"],
)
def test_a_question_for_logs_that_is_none_reaches_no_node(caller: Caller, environment: Environment, query: str) -> None:
    placed(environment)
    assert_problem(run(get(caller, f"{LOGS}?{query}"))[0], 400, "request.parameter")
    assert not LogQuery.objects.exists()

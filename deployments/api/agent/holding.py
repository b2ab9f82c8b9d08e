"""Answers that are worth waiting for: held open without keeping a thread or a database connection busy.

A view answers at once and may answer a Held, with a Pending. The event loop then waits for the topic, looks again
each time it is woken, and gives up when the time is over. A wake-up is only a nudge: it looks every few seconds anyway.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from rest_framework.response import Response
from rest_framework.views import APIView

from ... import wakeups
from .. import errors

_LOOK_EVERY_SECONDS = 5.0

Body = Mapping[str, Any]
T = TypeVar("T")


class Held(Response):
    """An answer that there may soon be a better one of."""

    pending: Pending | None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """`look` answers the body once there is one; `give_up` answers what is said when the time is over, or raises."""

    topic: str
    seconds: float
    look: Callable[[], Body | None]
    give_up: Callable[[], Body]


def held(view_class: type[APIView]) -> Callable[..., HttpResponseBase]:
    """The view class as an async view, which waits where its response has a Pending."""
    view = view_class.as_view()

    async def answer(request: HttpRequest, **names: Any) -> HttpResponseBase:
        response = await sync_to_async(_released(view))(request, **names)
        pending = response.pending if isinstance(response, Held) else None
        return response if pending is None else await _settled(pending)

    # What Django and the schema generator look for on a class-based view.
    for attribute in ("cls", "initkwargs", "csrf_exempt"):
        setattr(answer, attribute, getattr(view, attribute))
    # An asynchronous view is one too, whatever the stubs of `path` say.
    return cast("Callable[..., HttpResponseBase]", answer)


async def _settled(pending: Pending) -> HttpResponseBase:
    try:
        body = await _waited(pending)
    except Exception as fault:  # noqa: BLE001 - the one place outside Django REST framework that maps errors for this view
        return errors.answer(errors.refusal_of(fault))
    return JsonResponse(body, json_dumps_params={"ensure_ascii": False}, headers={"Cache-Control": "no-store"})


async def _waited(pending: Pending) -> Body:
    ends = time.monotonic() + pending.seconds
    look = sync_to_async(_released(pending.look))
    async with wakeups.listening(pending.topic) as wake:
        while True:
            body = await look()
            if body is not None:
                return body
            left = ends - time.monotonic()
            if left <= 0:
                return await sync_to_async(_released(pending.give_up))()
            await wake(min(left, _LOOK_EVERY_SECONDS))


def _released(call: Callable[..., T]) -> Callable[..., T]:
    """The call, with its database connection given back to the pool afterwards: hundreds wait, and the pool has a
    few."""

    def released(*arguments: Any, **names: Any) -> T:
        try:
            return call(*arguments, **names)
        finally:
            if not connection.in_atomic_block:
                connection.close()

    return released

"""Keeps what serves people (sessions, CSRF, redirects) away from the paths that machines call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware
from django.utils.module_loading import import_string

# Django's own handlers are synchronous or asynchronous, and say which by a marker rather than by their type.
Handler = Callable[[HttpRequest], Any]
AsyncHandler = Callable[[HttpRequest], Awaitable[HttpResponseBase]]


@sync_and_async_middleware
def for_people_only(get_response: Handler) -> Handler:
    """Wrap `settings.PEOPLE_MIDDLEWARE` around every path but `settings.MACHINE_PATHS`.

    Callback routes swallowed by session middleware were the same incident five times in one project, so the machine
    paths cannot meet it at all.
    """
    people = get_response
    asynchronous = iscoroutinefunction(get_response)
    adapter = BaseHandler()
    for path in reversed(settings.PEOPLE_MIDDLEWARE):
        middleware = import_string(path)
        wants_async = asynchronous and getattr(middleware, "async_capable", False)
        people = middleware(adapter.adapt_method_mode(wants_async, people, iscoroutinefunction(people), debug=False))

    def is_machine(request: HttpRequest) -> bool:
        return request.path_info.startswith(settings.MACHINE_PATHS)

    if not asynchronous:
        return lambda request: get_response(request) if is_machine(request) else people(request)

    chosen = cast(AsyncHandler, adapter.adapt_method_mode(True, people, iscoroutinefunction(people), debug=False))

    machines: AsyncHandler = get_response

    async def choose(request: HttpRequest) -> HttpResponseBase:
        return await (machines if is_machine(request) else chosen)(request)

    markcoroutinefunction(choose)
    return choose

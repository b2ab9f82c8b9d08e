"""One shape for everything that HTTP callers are refused: problem+json (RFC 9457), mapped here once, leaking nothing.

`refusal_of` turns any exception into a Refusal; `answer` writes it. Django REST framework calls `problem_response`,
plain Django calls `not_found` and `server_error`, and other edges (MCP) take the Refusal itself.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from django.core import exceptions as django_errors
from django.db import Error as DatabaseError
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from rest_framework import exceptions as rest_errors
from rest_framework.views import set_rollback

from agents.errors import AgentsError
from providers.errors import ProviderError
from registry.errors import RegistryError

from .. import catalogue
from ..domain.problems import Problem
from ..errors import DeploymentError

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller is told. `problems` lists every fault of what was sent; `headers` go with the HTTP answer."""

    status: int
    code: str
    detail: str
    retryable: bool = False
    problems: Sequence[Problem] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        body: dict[str, Any] = {
            "type": catalogue.type_of(self.code),
            "title": catalogue.title_of(self.code, self.status),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "retryable": self.retryable,
        }
        if self.problems:
            body["problems"] = [problem.as_json() for problem in self.problems]
        return body


def answer(refusal: Refusal) -> HttpResponse:
    """The HTTP answer. It is never cached: what is refused now may be admitted in a second."""
    response = HttpResponse(
        json.dumps(refusal.as_json(), ensure_ascii=False), status=refusal.status, content_type=CONTENT_TYPE
    )
    response["Cache-Control"] = "no-store"
    for name, value in refusal.headers.items():
        response[name] = value
    return response


def problem_response(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """The exception handler of Django REST framework."""
    set_rollback()
    return answer(refusal_of(error))


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler400`, for what is refused before any view, as a Host that is not ours."""
    if not request.path_info.startswith("/api/"):
        from django.views.defaults import bad_request as page

        return page(request, exception)
    return answer(refusal_of(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Django's `handler404`: problem+json where machines call, Django's own page elsewhere."""
    if not request.path_info.startswith("/api/"):
        from django.views.defaults import page_not_found

        return page_not_found(request, exception)
    return answer(no_such_path(request.path_info))


def server_error(request: HttpRequest) -> HttpResponseBase:
    """Django's `handler500`. The exception is in the log already; the caller learns nothing of it."""
    if not request.path_info.startswith("/api/"):
        from django.views.defaults import server_error as page

        return page(request)
    return answer(Refusal(500, "server.error", "Something is wrong on the server. The operator finds it in the log."))


def no_such_path(path: str) -> Refusal:
    cure = (
        "The paths are listed at /api/v1/schema/." if path.endswith("/") else f"Paths end with a slash: {path[:200]}/"
    )
    return Refusal(404, "not_found", f"There is nothing at {path[:200]}. {cure}")


def refusal_of(error: Exception) -> Refusal:
    """Any exception as what its caller may know of it. What nobody foresaw is logged under a reference and told as
    that."""
    for kind, told in _KINDS:
        if isinstance(error, kind):
            return told(error)
    return _unforeseen(error)


def _unforeseen(error: Exception) -> Refusal:
    reference = uuid.uuid4().hex[:12]
    log.error("unforeseen error %s", reference, exc_info=error)
    detail = f"Something is wrong on the server. The operator finds it in the log under {reference}."
    return Refusal(500, "server.error", detail)


def _retry_after(seconds: float | None) -> dict[str, str]:
    return {} if seconds is None else {"Retry-After": str(max(1, int(seconds)))}


def _of_deployments(error: DeploymentError) -> Refusal:
    if error.status >= 500 and not error.retryable and error.status != HTTPStatus.NOT_IMPLEMENTED:
        return _unforeseen(error)
    headers = {**_retry_after(error.retry_after_seconds), **getattr(error, "headers", {})}
    return Refusal(error.status, error.code, str(error), error.retryable, tuple(error.problems), headers)


_AGENTS_STATUS = {"name.taken": 409, "not_found": 404}


def _of_agents(error: AgentsError) -> Refusal:
    return Refusal(_AGENTS_STATUS.get(error.code, 422), error.code, str(error), error.retryable)


# What is missing here is an operator's fault (a key file, for instance) and none of the caller's business.
_REGISTRY_STATUS = {
    "quota.exceeded": 429,
    "image.not_found": 422,
    "registry.refused": 422,
    "registry.credential_unknown": 404,
    "registry.mint_failed": 503,
    "registry.unavailable": 503,
}


def _of_registry(error: RegistryError) -> Refusal:
    status = _REGISTRY_STATUS.get(error.code)
    if status is None:
        return _unforeseen(error)
    seconds = getattr(error, "retry_after_seconds", 10 if error.retryable else None)
    return Refusal(status, error.code, str(error), error.retryable, headers=_retry_after(seconds))


def _of_providers(error: ProviderError) -> Refusal:
    return Refusal(503, error.code, str(error), retryable=True, headers=_retry_after(30))


def _of_rest(error: rest_errors.APIException) -> Refusal:
    for kind, code, cure in _REST:
        if isinstance(error, kind):
            headers = dict(getattr(error, "headers", {}))
            # REST framework sets these on the exception, beside what its class declares.
            if challenge := getattr(error, "auth_header", None):
                headers["WWW-Authenticate"] = challenge
            headers |= _retry_after(getattr(error, "wait", None))
            return Refusal(
                error.status_code, code, f"{_sentence(error)} {cure}".strip(), error.status_code == 429, headers=headers
            )
    return (
        _unforeseen(error)
        if error.status_code >= 500
        else Refusal(error.status_code, "request.refused", _sentence(error))
    )


def _sentence(error: rest_errors.APIException) -> str:
    text = " ".join(str(error.detail).split())[:500]
    return text if text.endswith((".", "!", "?")) else f"{text}."


_REST: tuple[tuple[type[rest_errors.APIException], str, str], ...] = (
    (
        rest_errors.NotAuthenticated,
        "token.missing",
        "Send `Authorization: Bearer sam_...`; an operator makes tokens with `manage.py agent_token create`.",
    ),
    (
        rest_errors.AuthenticationFailed,
        "token.invalid",
        "Ask an operator for a new one (`manage.py agent_token create`).",
    ),
    (rest_errors.PermissionDenied, "request.forbidden", ""),
    (rest_errors.NotFound, "not_found", "Lists show what there is."),
    (rest_errors.MethodNotAllowed, "request.method", "The Allow header names the methods that this path takes."),
    (
        rest_errors.NotAcceptable,
        "request.not_acceptable",
        "Answers are JSON: send `Accept: application/json`, or none.",
    ),
    (
        rest_errors.UnsupportedMediaType,
        "request.media_type",
        "/api/v1/schema/ names the media types that this path takes.",
    ),
    (rest_errors.Throttled, "request.throttled", ""),
    (rest_errors.ParseError, "request.malformed", ""),
    (rest_errors.ValidationError, "request.malformed", ""),
)


def _plain(
    status: int, code: str, detail: str, *, retryable: bool = False, wait_seconds: int | None = None
) -> Callable[[Any], Refusal]:
    return lambda error: Refusal(status, code, detail, retryable, headers=_retry_after(wait_seconds))


# The first that fits tells; the more special stand before the more general.
_KINDS: tuple[tuple[type[Exception], Callable[[Any], Refusal]], ...] = (
    (DeploymentError, _of_deployments),
    (AgentsError, _of_agents),
    (RegistryError, _of_registry),
    (ProviderError, _of_providers),
    (rest_errors.APIException, _of_rest),
    (Http404, _plain(404, "not_found", "There is nothing here that you may see. Lists show what there is.")),
    (django_errors.PermissionDenied, _plain(403, "request.forbidden", "This is not yours to do.")),
    (
        django_errors.RequestDataTooBig,
        _plain(413, "request.too_large", "The body is larger than any call takes. A Compose file has at most 64 KiB."),
    ),
    (django_errors.BadRequest, _plain(400, "request.malformed", "The request cannot be read.")),
    (django_errors.SuspiciousOperation, _plain(400, "request.malformed", "The request cannot be read.")),
    (UnreadablePostError, _plain(400, "request.malformed", "The body ended before it was complete.", retryable=True)),
    (
        OperationalError,
        _plain(
            503,
            "database.unavailable",
            "The database does not answer in time. Nothing was changed.",
            retryable=True,
            wait_seconds=5,
        ),
    ),
    (
        InterfaceError,
        _plain(
            503,
            "database.unavailable",
            "The database does not answer in time. Nothing was changed.",
            retryable=True,
            wait_seconds=5,
        ),
    ),
    (DatabaseError, _unforeseen),
)

"""`GET /registry/token`: the token service's one page, for Docker and other registry clients."""

from __future__ import annotations

from http import HTTPStatus

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe

from . import jwts, scopes, tokens
from .errors import KeyUnusable
from .refusals import RefusalRate

MAX_QUERY_LENGTH = 8192

log = structlog.get_logger(__name__)
_refusals = RefusalRate()


@require_safe  # POST is answered 405, at which containerd and BuildKit fall back to GET
def token(request: HttpRequest) -> HttpResponse:
    if len(request.META.get("QUERY_STRING", "")) > MAX_QUERY_LENGTH:
        return _problem(
            HTTPStatus.BAD_REQUEST, "registry.request_too_large", f"Ask with {MAX_QUERY_LENGTH} bytes at most."
        )
    if request.GET.get("service", jwts.SERVICE) != jwts.SERVICE:
        return _problem(
            HTTPStatus.BAD_REQUEST, "registry.service_unknown", f"This is the token service of {jwts.SERVICE}."
        )
    try:
        login = tokens.recognise(request.headers.get("Authorization", ""))
        if login is None:
            return _refused(request)
        return _granted(tokens.issue(login, scopes.parse(request.GET.getlist("scope"))))
    except KeyUnusable as fault:
        log.error("registry_token_key_unusable", why=str(fault))
        detail = "The token service has no usable key; an operator finds the cause in the control plane's log."
        return _problem(HTTPStatus.SERVICE_UNAVAILABLE, KeyUnusable.code, detail, retryable=True)


def _granted(bearer: tokens.Bearer) -> HttpResponse:
    answer = {
        "token": bearer.token,
        "access_token": bearer.token,
        "expires_in": bearer.expires_in_seconds,
        "issued_at": f"{bearer.issued_at:%Y-%m-%dT%H:%M:%SZ}",
    }
    return _uncached(JsonResponse(answer))


def _refused(request: HttpRequest) -> HttpResponse:
    """One answer whatever was wrong. The log gets a count and an address: a user name may be a misplaced password."""
    count = _refusals.count()
    if count is not None:
        log.warning("registry_logins_refused", count=count, last_from=request.META.get("REMOTE_ADDR", ""))
    detail = (
        "No registry credential, or one that is unknown, expired or revoked."
        " Ask the control plane for a new one and log in again."
    )
    response = _problem(HTTPStatus.UNAUTHORIZED, "registry.login_refused", detail)
    response["WWW-Authenticate"] = f'Basic realm="{jwts.SERVICE}", charset="UTF-8"'
    return response


def _problem(status: HTTPStatus, code: str, detail: str, *, retryable: bool = False) -> HttpResponse:
    """RFC 9457, with the `errors` member that registry clients print."""
    body = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": detail,
        "retryable": retryable,
        "errors": [{"code": status.phrase.upper().replace(" ", "_"), "message": detail}],
    }
    return _uncached(JsonResponse(body, status=int(status), content_type="application/problem+json"))


def _uncached(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store"
    return response

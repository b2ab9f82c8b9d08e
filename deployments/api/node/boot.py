"""What a machine calls before it is a node: it has no key yet, so its one-time token says who it is."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpRequest, HttpResponse
from pydantic import ValidationError

from ...errors import DeploymentError
from ...services import agent_bundles, boots
from . import calls

MAX_REPORT_BYTES = 32 * 1024
_SCHEME = "Bearer "


class ReportInvalid(DeploymentError):
    code: ClassVar[str] = "boot.report"
    status: ClassVar[int] = 422

    def __init__(self, fault: ValidationError):
        self.places = sorted({".".join(str(part) for part in each["loc"]) or "the body" for each in fault.errors()})

    def __str__(self) -> str:
        return f"This is no report of a boot; wrong at: {', '.join(self.places)[:300]}. Boot with newer user data."


class NoSuchBundle(DeploymentError):
    code: ClassVar[str] = "boot.agent"
    status: ClassVar[int] = 404

    def __str__(self) -> str:
        return "There is no agent of this digest here. The user data of a new node names the current one."


@calls.answered("POST")
def report(request: HttpRequest) -> HttpResponse:
    """204: it is recorded, or was before."""
    token = _token(request)
    boots.awaited(token)
    body = calls.body_of(request, MAX_REPORT_BYTES)
    try:
        message = boots.BootReport.model_validate_json(body)
    except ValidationError as fault:
        raise ReportInvalid(fault) from fault
    boots.take(token=token, report=message)
    return HttpResponse(status=204)


@calls.answered("GET")
def agent(request: HttpRequest, *, sha256: str) -> HttpResponse:
    """The archive, whose digest the machine knows from its user data and checks."""
    boots.awaited(_token(request))
    content = agent_bundles.find(sha256)
    if content is None:
        raise NoSuchBundle
    return HttpResponse(content, content_type="application/gzip")


def _token(request: HttpRequest) -> str:
    """Raises BootRefused."""
    header = request.headers.get("Authorization", "")
    if not header.startswith(_SCHEME):
        raise boots.BootRefused
    return header.removeprefix(_SCHEME).strip()

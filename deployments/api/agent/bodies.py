"""Request bodies: bounded, typed, and refused with every fault at once."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from rest_framework.exceptions import UnsupportedMediaType
from rest_framework.request import Request

from ...domain.problems import Problem, pointer_to
from ...errors import DeploymentError, InvalidSubmission

DOCUMENT_MAX_BYTES = 64 * 1024
_JSON_MAX_BYTES = 16 * 1024
MEDIA_TYPES = {
    "application/yaml": "yaml",
    "application/x-yaml": "yaml",
    "text/yaml": "yaml",
    "text/x-yaml": "yaml",
    "application/json": "json",
}


class TooLarge(DeploymentError):
    """The body has more bytes than this call takes; it was not looked into."""

    code, status = "request.too_large", 413

    def __init__(self, what: str, limit: int):
        self.what, self.limit = what, limit

    def __str__(self) -> str:
        return (
            f"{self.what} has at most {self.limit} bytes here. Leave out comments and what the image can hold itself."
        )


class RollbackBody(BaseModel):
    """`to_sequence`: the release to go back to; without it, the one that was live before the one that is live now."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    to_sequence: int | None = Field(default=None, ge=1, lt=2**63)


class VolumeBody(BaseModel):
    """`size_gb` in gigabytes of 10^9 bytes; without it, the provider's default."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    name: str = Field(min_length=1, max_length=63)
    size_gb: int | None = Field(default=None, ge=1, lt=2**31)


class Nothing(BaseModel):
    """The body of a call that takes none: absent, or an empty object."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


Body = TypeVar("Body", bound=BaseModel)


def document(request: Request) -> tuple[bytes, str]:
    """The submitted document and whether it is "yaml" or "json". Raises UnsupportedMediaType and TooLarge."""
    media_type = _media_type(request)
    if media_type not in MEDIA_TYPES:
        told = (
            "Send a Compose file as application/yaml or a manifest as application/json; this is "
            f"{media_type or 'without a Content-Type'}."
        )
        raise UnsupportedMediaType(media_type, told)
    return _bounded(request, "A Compose file or manifest", DOCUMENT_MAX_BYTES), MEDIA_TYPES[media_type]


def read(request: Request, shape: type[Body]) -> Body:
    """A JSON body in its shape; no body is an empty object. Raises InvalidSubmission, UnsupportedMediaType and
    TooLarge."""
    raw = _bounded(request, "The body", _JSON_MAX_BYTES)
    if raw and _media_type(request) not in ("application/json", ""):
        raise UnsupportedMediaType(_media_type(request), "The body of this call is JSON, sent as application/json.")
    try:
        return shape.model_validate_json(raw or b"{}")
    except ValidationError as fault:
        raise InvalidSubmission(
            [_problem(error) for error in fault.errors(include_url=False, include_input=False)]
        ) from None


def _media_type(request: Request) -> str:
    return (request.content_type or "").partition(";")[0].strip().lower()[:100]


def _bounded(request: Request, what: str, limit: int) -> bytes:
    sent = request._request
    announced = sent.META.get("CONTENT_LENGTH") or "0"
    if announced.isascii() and announced.isdigit() and int(announced[:18]) > limit:
        raise TooLarge(what, limit)
    body = sent.body
    if len(body) > limit:
        raise TooLarge(what, limit)
    return body


def _problem(error: ErrorDetails) -> Problem:
    pointer = pointer_to(*error["loc"])
    name = pointer or "the body"
    return Problem(
        code="request.body",
        severity="error",
        pointer=pointer,
        line=None,
        column=None,
        message=f"{name}: {error['msg']}.",
        hint="The shape of the body is in /api/v1/schema/.",
        fix=None,
    )

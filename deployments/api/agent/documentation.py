"""Words and shapes that recur in the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

from . import shapes
from .cursors import DEFAULT_LIMIT, MAX_LIMIT

TEXT = OpenApiTypes.STR
ANY_OBJECT = OpenApiTypes.OBJECT

PAGE = [
    OpenApiParameter("cursor", str, description="`next` of the page before."),
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
        description="How many at most.",
    ),
]
WAIT = OpenApiParameter(
    "wait",
    {"type": "integer", "minimum": 0, "maximum": 60, "default": 0},
    description="Hold the answer up to so many seconds, until the status is settled or has changed.",
)
DRY_RUN = OpenApiParameter("dry_run", bool, description="Answer the plan and store nothing.")
PLAN_HASH = OpenApiParameter(
    "plan_hash", str, description="Release only if the plan with this hash still holds; otherwise 409 `plan.stale`."
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="The same key and body within 24 hours gets the first answer again, and nothing is done twice.",
)
DOCUMENT: Mapping[str, Any] = {
    "application/yaml": OpenApiTypes.STR,
    "application/x-yaml": OpenApiTypes.STR,
    "text/yaml": OpenApiTypes.STR,
    "text/x-yaml": OpenApiTypes.STR,
    "application/json": OpenApiTypes.OBJECT,
}
_TITLES = {
    400: "A parameter or the request itself is malformed.",
    401: "No token, or an unknown, expired or revoked one.",
    403: "The token lacks the scope, the gate is closed, or the profile is not admitted.",
    404: "Not there, or not for this token to see.",
    405: "This path does not take the method.",
    406: "The answer cannot be had in the media type asked for.",
    409: "Not in the state that it is in now.",
    413: "The body is too large.",
    415: "The body's media type is none that this call takes.",
    422: "What was sent has faults; `problems` lists all of them.",
    429: "The quota is used up; Retry-After says for how long.",
    501: "Part of the contract, and not built yet.",
    502: "The node answered that it could not.",
    503: "Something that the answer needs does not answer; Retry-After says when to try again.",
}


def refusals(*statuses: int) -> dict[Any, Any]:
    return {
        (status, "application/problem+json"): OpenApiResponse(shapes.Refusal, description=_TITLES[status])
        for status in statuses
    }


def answers(done: Mapping[Any, Any], *statuses: int) -> dict[Any, Any]:
    """The answers of a call that needs a token and a scope."""
    return {**done, **refusals(401, 403, 406, *statuses)}

"""Log lines of what runs: asked of the node, and waited for."""

from __future__ import annotations

import re
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents.principals import Scope

from ....errors import DeploymentError, NodeUnavailable
from ....models import Environment, LogQuery
from ....services import logs
from .. import documentation as docs
from .. import shapes
from ..holding import Held, Pending
from .base import AgentView

ANSWER_WITHIN_SECONDS = 15
# As the wire has it: what passes here is not refused when the node is asked.
_SERVICE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
# As the node gives it: the time of a line, and how many lines of that time were given.
_CURSOR = re.compile(
    r"[0-9]{4}-[0-1][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z\+[0-9]{1,9}", re.ASCII
)


class LogsFailed(DeploymentError):
    """The node has answered, and could not read what was asked for."""

    code, status, retryable = "logs.failed", 502, True

    def __init__(self, environment: Environment, why: str):
        self.environment, self.why = environment, why

    def __str__(self) -> str:
        return (
            f"The node of {self.environment} could not read these logs: {self.why} Check the "
            "service's name and the cursor, then ask again."
        )


class Logs(AgentView):
    scopes = {"GET": Scope.LOGS_READ}

    @extend_schema(
        operation_id="read_logs",
        parameters=[
            OpenApiParameter("service", str, description="Lines of this service only."),
            OpenApiParameter("since", str, description="Lines from then on: Unix seconds, or RFC 3339."),
            OpenApiParameter("limit", int, description=f"1 to {logs.MAX_LINES} lines; 100 unless said."),
            OpenApiParameter("cursor", str, description="`next` of the answer before."),
        ],
        responses=docs.answers({200: shapes.LogLines}, 400, 404, 502, 503),
    )
    def get(self, request: Request, slug: str) -> Response:
        """Lines of the running containers, redacted. 503 `node.unavailable` if the node does not answer in time."""
        environment = self.environment(slug)
        asked = self.parameters()
        service = asked.matching("service", _SERVICE, "the name of a service") or ""
        since = asked.moment("since")
        limit = asked.whole("limit", default=100, least=1, most=logs.MAX_LINES)
        cursor = asked.matching("cursor", _CURSOR, "the `next` of an answer before") or ""
        asked.check()
        query = logs.ask(environment=environment, service=service, since=since, limit=limit, cursor=cursor)
        response = Held()
        response.pending = _pending(environment, query)
        return response


def _pending(environment: Environment, query: LogQuery) -> Pending:
    def answered() -> dict[str, Any] | None:
        answer = logs.answer_of(query)
        if answer is None:
            return None
        if answer.get("error"):
            raise LogsFailed(environment, str(answer["error"]))
        return {"lines": answer["lines"], "next": answer["next"]}

    def unanswered() -> dict[str, Any]:
        raise NodeUnavailable(environment, f"did not answer within {ANSWER_WITHIN_SECONDS} s")

    return Pending(topic=f"log:{query.pk}", seconds=ANSWER_WITHIN_SECONDS, look=answered, give_up=unanswered)

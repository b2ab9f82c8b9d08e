"""Log lines of running services: asked of the node, answered redacted, read once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from nodeagent.wire.logs import LogAnswer
from nodeagent.wire.redaction import Redactor

from .. import wakeups
from ..domain.states import RELEASE_PENDING, ReleaseStatus
from ..errors import NodeUnavailable, UnknownService
from ..models import Environment, LogQuery, Node
from ..selectors import manifests
from . import values

MAX_LINES = 1000
_KEPT_SECONDS = 120


def ask(
    *, environment: Environment, service: str = "", since: str = "", limit: int = 100, cursor: str = ""
) -> LogQuery:
    """Put a question to the environment's node. Raises NodeUnavailable where there is none.

    Raises UnknownService for a name that no release which may run has: a typo is not a silent app.
    """
    if service and service not in (known := _services(environment)):
        raise UnknownService(environment, service, known)
    with transaction.atomic():
        node = environment.node
        if node is None:
            raise NodeUnavailable(environment, "is not there: nothing of it runs")
        query = LogQuery.objects.create(
            environment=environment, node=node, service=service, since=since, limit=min(limit, MAX_LINES), cursor=cursor
        )
        wakeups.notify(f"node:{node.pk}")
    return query


def _services(environment: Environment) -> list[str]:
    """Of the live release and those that are with the node or behind it."""
    rows = environment.releases.filter(status__in=[ReleaseStatus.LIVE, ReleaseStatus.UNKNOWN, *RELEASE_PENDING])
    return sorted({name for row in rows.order_by("-sequence")[:5] for name in manifests.of(row).services})


def take(node: Node, environment_id: UUID, answer: LogAnswer) -> None:
    """Keep a node's answer until it is read. An answer to no question of ours is dropped."""
    with transaction.atomic():
        query = (
            LogQuery.objects.select_related("environment")
            .filter(pk=answer.request_id, node=node, environment_id=environment_id, answer__isnull=True)
            .first()
        )
        if query is None:
            return
        # The node has redacted what its releases hold; here goes what the environment holds beyond them.
        hidden = Redactor(values.secret_texts(query.environment))
        lines = [
            {"at": line.at, "service": line.service, "stream": line.stream, "text": hidden(line.text)}
            for line in answer.lines
        ]
        LogQuery.objects.filter(pk=query.pk).update(answer={"lines": lines, "next": answer.next, "error": answer.error})
        wakeups.notify(f"log:{query.pk}")


def answer_of(query: LogQuery) -> dict[str, Any] | None:
    """The answer, once: the row goes with it. None while there is none."""
    row = LogQuery.objects.filter(pk=query.pk, answer__isnull=False).first()
    if row is None or row.answer is None:
        return None
    row.delete()
    return dict(row.answer)


def forget_old() -> int:
    deleted, _ = LogQuery.objects.filter(asked_at__lt=timezone.now() - timedelta(seconds=_KEPT_SECONDS)).delete()
    return deleted

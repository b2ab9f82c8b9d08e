"""What a caller may see: another project's things, and environments that a token does not name, do not exist for it."""

from __future__ import annotations

from django.db.models import QuerySet

from agents.principals import Principal

from ..errors import NotFound
from ..models import Environment, Release


def environments(principal: Principal) -> QuerySet[Environment]:
    rows = Environment.objects.filter(project_id=principal.project_id).select_related("project", "node", "observation")
    return rows if principal.environment_ids is None else rows.filter(pk__in=principal.environment_ids)


def environment(principal: Principal, slug: str) -> Environment:
    """Raises NotFound."""
    row = environments(principal).filter(slug=slug).first()
    if row is None:
        raise NotFound("environment", slug)
    return row


def release(principal: Principal, slug: str, sequence: int) -> Release:
    """Raises NotFound."""
    row = environment(principal, slug).releases.select_related("environment__project").filter(sequence=sequence).first()
    if row is None:
        raise NotFound("release", sequence)
    return row

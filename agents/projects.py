"""Projects: made once, with a registry namespace that no other project can share."""

from __future__ import annotations

import re

from django.db import IntegrityError, transaction

from timeline import events

from .errors import InvalidName, NameTaken, NoSuchName
from .models import AgentProfile, Project

# Also a valid path component of a repository, so that slug and namespace are one text and no two fold together.
SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?", re.ASCII)
SLUG_RULE = "1 to 40 of a-z, 0-9 and -, with a letter or digit at both ends and no -- inside"


def check_slug(noun: str, slug: str) -> None:
    """Raises InvalidName for what is no slug."""
    if not SLUG.fullmatch(slug) or "--" in slug:
        raise InvalidName(noun, slug, SLUG_RULE)


def create(*, slug: str, by: dict[str, str] | None = None) -> Project:
    """Raises InvalidName and NameTaken."""
    check_slug("project", slug)
    try:
        with transaction.atomic():
            project = Project.objects.create(slug=slug, namespace=slug)
            events.record(
                project_id=project.pk,
                subject=("project", project.pk),
                kind="project:created",
                by=by,
                data={"slug": slug},
            )
    except IntegrityError as fault:
        raise NameTaken("project", slug) from fault
    return project


def named(slug: str) -> Project:
    """Raises NoSuchName."""
    project = Project.objects.filter(slug=slug).first()
    if project is None:
        raise NoSuchName("project", slug)
    return project


def profile_named(project: Project, name: str) -> AgentProfile:
    """Raises NoSuchName."""
    profile = AgentProfile.objects.filter(project=project, name=name).first()
    if profile is None:
        raise NoSuchName("agent profile", name)
    return profile

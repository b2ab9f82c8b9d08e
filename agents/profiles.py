"""Agent profiles, as far as operators name them: a name that tokens carry and environments admit."""

from __future__ import annotations

import re

from django.db import transaction

from timeline import events

from .errors import InvalidName
from .models import AgentProfile, Project

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_RULE = "1 to 64 of a-z, 0-9, '.', '_' and '-', with a letter or digit first"
_HARNESSES = ("claude-code", "codex")


def ensure(*, project: Project, name: str, by: dict[str, str] | None = None) -> tuple[AgentProfile, bool]:
    """The profile of that name and whether it was made now. A new one starts no particular model, at effort `auto`.

    Raises InvalidName.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName("profile", name, _RULE)
    with transaction.atomic():
        profile, is_new = AgentProfile.objects.get_or_create(
            project=project, name=name, defaults={"harness": name if name in _HARNESSES else ""}
        )
        if is_new:
            events.record(
                project_id=project.pk,
                subject=("profile", profile.pk),
                kind="profile:created",
                by=by,
                data={"name": name},
            )
    return profile, is_new

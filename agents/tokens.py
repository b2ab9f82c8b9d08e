"""Agent tokens: made once, shown once, stored as a hash, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from timeline import events

from .errors import NoSuchName, UnknownScope
from .models import AgentProfile, AgentToken, Project
from .principals import Principal, Scope

_TOKEN = re.compile(r"sam_([0-9a-z]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_NOBODY = hashlib.sha256(b"nobody").digest()
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"


def create(
    *,
    project: Project,
    name: str,
    scopes: Sequence[str] = (),
    environment_ids: Sequence[UUID] = (),
    profile: AgentProfile | None = None,
    expires_in_seconds: int | None = None,
    by: dict[str, str] | None = None,
) -> tuple[AgentToken, str]:
    """Make a token; answers the row and the text, which is never to be had again. No scopes named: all of them.

    Raises UnknownScope.
    """
    known = [scope.value for scope in Scope]
    if unknown := [scope for scope in scopes if scope not in known]:
        raise UnknownScope(unknown, known)
    token_id = "".join(secrets.choice(_ALPHABET) for _ in range(12))
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        row = AgentToken.objects.create(
            id=token_id,
            project=project,
            name=name,
            secret_sha256=hashlib.sha256(secret.encode()).digest(),
            scopes=list(scopes) or known,
            environment_ids=list(environment_ids),
            profile=profile,
            expires_at=timezone.now() + timedelta(seconds=expires_in_seconds) if expires_in_seconds else None,
        )
        events.record(
            project_id=project.pk, subject=("token", token_id), kind="token:created", by=by, data={"name": name}
        )
    return row, f"sam_{token_id}_{secret}"


def revoke(*, token_id: str, by: dict[str, str] | None = None) -> AgentToken:
    """End a token at once. Safe to call twice. Raises NoSuchName."""
    with transaction.atomic():
        row = AgentToken.objects.select_for_update().filter(pk=token_id).first()
        if row is None:
            raise NoSuchName("token", token_id)
        if row.revoked_at is None:
            row.revoked_at = timezone.now()
            row.save(update_fields=["revoked_at"])
            events.record(project_id=row.project_id, subject=("token", token_id), kind="token:revoked", by=by)
    return row


def state_of(row: AgentToken) -> str:
    """`usable`, `expired` or `revoked`."""
    if row.revoked_at:
        return "revoked"
    return "expired" if row.expires_at and row.expires_at <= timezone.now() else "usable"


def authenticate(text: str) -> Principal | None:
    """The principal that a token text speaks for; None for a malformed, unknown, expired or revoked one."""
    match = _TOKEN.fullmatch(text)
    row = AgentToken.objects.select_related("profile").filter(pk=match[1]).first() if match else None
    # The comparison happens for unknown tokens too, so that time tells nobody which ids exist.
    given = hashlib.sha256(match[2].encode() if match else b"").digest()
    same = hmac.compare_digest(given, bytes(row.secret_sha256) if row else _NOBODY)
    if not row or not same or state_of(row) != "usable":
        return None
    return Principal(
        project_id=row.project_id,
        token_id=row.pk,
        token_name=row.name,
        profile=row.profile.name if row.profile else None,
        scopes=frozenset(row.scopes),
        environment_ids=frozenset(row.environment_ids) or None,
    )

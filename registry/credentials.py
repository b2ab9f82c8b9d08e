"""Push and pull credentials: quota, mint, audit, in this order, and their revocation.

The audit row is written last and the token service believes nothing without it, so a credential whose row could not be
written is worth nothing. No secret is kept: a password is a signature that the token service recognises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.db import transaction
from django.utils import timezone

from timeline import events

from . import backends, namespaces, quotas
from .errors import InvalidRepository, MintFailed, QuotaExceeded, RegistryError, UnknownCredential
from .models import Kind, Outcome, RegistryMint
from .ports import Login, PullCredentials, PushCredentials, RegistryBackend

PUSH_TTL_SECONDS = 900
MAX_PULL_TTL_SECONDS = 86_400

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """Who asks for what. `requested_by` holds ids in plain values (token, profile, session, node), never a secret."""

    project_id: UUID
    environment_id: UUID | None
    kind: Kind
    requested_by: Mapping[str, Any]
    namespace: str = ""
    repositories: tuple[str, ...] = ()


def mint_push(
    *, project_id: UUID, namespace: str, requested_by: Mapping[str, Any], environment_id: UUID | None = None
) -> PushCredentials:
    """A login that pushes and pulls inside the namespace for 15 minutes (or as long as the backend can say).

    State, gate and profile are the caller's to check before: from here on the project's quota is consumed, also by a
    mint that fails. Not inside a transaction (RuntimeError), or a failure would give the place back.
    Raises QuotaExceeded (with `retry_after_seconds`), MintFailed (retryable), InvalidNamespace.
    """
    request = Request(project_id, environment_id, Kind.PUSH, requested_by, namespace=namespaces.check(namespace))
    try:
        quotas.take(project_id=project_id)
    except QuotaExceeded as refused:
        _record(request, Outcome.REFUSED, code=refused.code)
        raise
    backend, jti = backends.configured(), uuid4().hex
    login = _minted(
        request, backend, jti, lambda: backend.mint_push(jti=jti, namespace=namespace, ttl_seconds=PUSH_TTL_SECONDS)
    )
    prefix = backend.repository_prefix(namespace)
    return PushCredentials(
        registry=backend.host,
        username=login.username,
        password=login.password,
        namespace=prefix,
        expires_at=login.expires_at,
        path_scoped=backend.path_scoped,
        instructions=_instructions(backend, login, prefix),
        jti=jti,
    )


def mint_pull(
    *,
    project_id: UUID,
    repositories: Collection[str],
    requested_by: Mapping[str, Any],
    ttl_seconds: int,
    environment_id: UUID | None = None,
) -> PullCredentials:
    """A login that pulls exactly these repositories, for one payload of one node. No quota; audited.

    Raises MintFailed (retryable), InvalidRepository; ValueError for a life of none or of more than a day.
    """
    if not 0 < ttl_seconds <= MAX_PULL_TTL_SECONDS:
        raise ValueError(f"ttl_seconds must be 1 to {MAX_PULL_TTL_SECONDS}, not {ttl_seconds}")
    names = tuple(sorted(set(repositories)))
    for name in names:
        if not namespaces.is_repository(name):
            raise InvalidRepository(name)
    request = Request(project_id, environment_id, Kind.PULL, requested_by, repositories=names)
    backend, jti = backends.configured(), uuid4().hex
    login = _minted(
        request, backend, jti, lambda: backend.mint_pull(jti=jti, repositories=names, ttl_seconds=ttl_seconds)
    )
    return PullCredentials(backend.host, login.username, login.password, login.expires_at, jti)


def record_refusal(
    *,
    project_id: UUID,
    namespace: str,
    requested_by: Mapping[str, Any],
    code: str,
    environment_id: UUID | None = None,
) -> None:
    """Audit a request for push credentials that was refused before the quota (state, gate, profile); nothing counts."""
    request = Request(project_id, environment_id, Kind.PUSH, requested_by, namespace=namespace)
    _record(request, Outcome.REFUSED, code=code)


def revoke(jti: str, *, by: Mapping[str, Any]) -> bool:
    """End a credential now; registry tokens already made from it live on for at most five minutes.

    Answers False when it was revoked before. Raises UnknownCredential.
    """
    with transaction.atomic():
        live = RegistryMint.objects.filter(jti=jti, outcome=Outcome.MINTED, revoked_at__isnull=True)
        if live.update(revoked_at=timezone.now()):
            _tell(RegistryMint.objects.get(jti=jti), "revoked", by)
            return True
    if RegistryMint.objects.filter(jti=jti).exists():
        return False
    raise UnknownCredential(jti)


def _minted(request: Request, backend: RegistryBackend, jti: str, mint: Callable[[], Login]) -> Login:
    try:
        login = mint()
    except Exception as fault:  # whatever a backend's library raises, the attempt is audited and counts
        # The class alone: what a vendor's library writes into its errors may hold the request it made.
        why = str(fault) if isinstance(fault, RegistryError) else type(fault).__name__
        log.error("registry_mint_failed", backend=backend.slug, project_id=str(request.project_id), why=why)
        _record(request, Outcome.FAILED, code=MintFailed.code)
        raise MintFailed(backend.slug) from fault
    _record(request, Outcome.MINTED, jti=jti, expires_at=login.expires_at)
    return login


def _record(
    request: Request, outcome: Outcome, *, code: str = "", jti: str | None = None, expires_at: datetime | None = None
) -> None:
    with transaction.atomic():
        mint = RegistryMint.objects.create(
            project_id=request.project_id,
            environment_id=request.environment_id,
            kind=request.kind,
            namespace=request.namespace,
            repositories=list(request.repositories),
            jti=jti,
            requested_by=dict(request.requested_by),
            outcome=outcome,
            code=code,
            created_at=timezone.now(),
            expires_at=expires_at,
        )
        _tell(mint, outcome.value, request.requested_by)


def _tell(mint: RegistryMint, what: str, by: Mapping[str, Any]) -> None:
    events.record(
        project_id=mint.project_id,
        environment_id=mint.environment_id,
        subject=("registry_mint", mint.pk),
        kind=f"registry:credential:{what}",
        severity="warning" if what == Outcome.FAILED else "info",
        by=by,
        data={"kind": mint.kind, "jti": mint.jti, "code": mint.code} | _scope(mint),
    )


def _scope(mint: RegistryMint) -> dict[str, object]:
    return {"namespace": mint.namespace} if mint.kind == Kind.PUSH else {"repositories": mint.repositories}


def _instructions(backend: RegistryBackend, login: Login, prefix: str) -> str:
    boundary = (
        f"The login reaches {prefix}/ and nothing else."
        if backend.path_scoped
        else f"The login reaches the whole registry; releases are accepted from {prefix}/ alone, so push nowhere else."
    )
    return (
        "Log in with the password on standard input:"
        f" docker login {backend.host} --username {login.username} --password-stdin\n"
        f"Then push: docker push {backend.host}/{prefix}/IMAGE:TAG\n"
        f"{boundary} It ends at {login.expires_at:%Y-%m-%dT%H:%M:%SZ};"
        " ask for another one then, and keep this one nowhere."
    )

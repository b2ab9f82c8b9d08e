"""The token service of the built-in registry: who presents a login, and the bearer token for what it carries.

Protocol: distribution/docs/spec/auth/token.md. A login asks for no scope and wants success; several scopes are answered
with the part that the credential carries, never with an error.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from . import backends, jwts, scopes
from .models import Kind, RegistryMint
from .scopes import Rights, Scope

MAX_AUTHORIZATION_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Bearer:
    """The answer: a registry token and what it carries. `expires_in_seconds` counts from `issued_at`."""

    token: str
    issued_at: datetime
    expires_in_seconds: int
    access: dict[str, frozenset[str]]


@dataclass(frozen=True, slots=True)
class Recognised:
    """A login in force. `expires_at` in Unix seconds."""

    username: str
    jti: str
    expires_at: int
    rights: Rights


def recognise(authorization: str) -> Recognised | None:
    """The login behind an Authorization header (Basic), None for whatever else it is.

    A password counts if our key signed it, it has not expired, the user name is the one it was made for, and its audit
    row stands unrevoked. What it may do is read from that row. Raises KeyUnusable.
    """
    username, password = _basic(authorization)
    now = int(time.time())
    claims = jwts.read_login(backends.built_in().signing_key(), password, now=now)
    if claims is None or not hmac.compare_digest(username.encode(), claims.username.encode()):
        return None
    mint = RegistryMint.objects.in_force(now=datetime.fromtimestamp(now, UTC)).filter(jti=claims.jti).first()
    if mint is None:
        return None
    return Recognised(claims.username, claims.jti, claims.expires_at, _rights(mint))


def issue(login: Recognised, asked: Collection[Scope]) -> Bearer:
    """A bearer token for the intersection of what is asked and what the login carries; it never outlives the login."""
    access = scopes.granted(asked, login.rights)
    signed = jwts.sign_bearer(
        backends.built_in().signing_key(),
        subject=login.username,
        jti=uuid4().hex,
        access=access,
        now=int(time.time()),
        not_after=login.expires_at,
    )
    return Bearer(signed.token, datetime.fromtimestamp(signed.issued_at, UTC), signed.expires_in_seconds, access)


def _rights(mint: RegistryMint) -> Rights:
    if mint.kind == Kind.PUSH:
        return Rights(namespace=mint.namespace)
    return Rights(repositories=frozenset(mint.repositories))


def _basic(authorization: str) -> tuple[str, str]:
    """User name and password of a Basic header; two empty texts, which no credential has, for anything else."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic" or len(authorization) > MAX_AUTHORIZATION_LENGTH:
        return "", ""
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return "", ""
    username, _, password = text.partition(":")
    return username, password

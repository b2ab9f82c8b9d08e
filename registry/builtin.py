"""The built-in registry as a backend: logins that our own token service recognises, each limited to what it is for."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from . import jwts, keys, scopes
from .ports import Login, Secret

RESOLVER_SUBJECT = "control-plane"


@dataclass(frozen=True, slots=True)
class BuiltInRegistry:
    """`url` is the one address for agents, control plane and nodes; the key files are the token service's."""

    url: str
    key_file: Path
    certificate_file: Path
    slug: str = "built-in"
    path_scoped: bool = True

    @property
    def host(self) -> str:
        return self.url.split("://", 1)[1].rstrip("/")

    def repository_prefix(self, namespace: str) -> str:
        return namespace

    def mint_push(self, *, jti: str, namespace: str, ttl_seconds: int) -> Login:
        """The namespace is not written into the password: the audit row is the one place that says what it may do."""
        return self._login(f"push-{jti}", jti, ttl_seconds)

    def mint_pull(self, *, jti: str, repositories: Collection[str], ttl_seconds: int) -> Login:
        return self._login(f"pull-{jti}", jti, ttl_seconds)

    def _login(self, username: str, jti: str, ttl_seconds: int) -> Login:
        now = int(time.time())
        claims = jwts.LoginClaims(username=username, jti=jti, expires_at=now + ttl_seconds)
        password = jwts.sign_login(self.signing_key(), claims, now=now)
        return Login(username, Secret(password), datetime.fromtimestamp(claims.expires_at, UTC))

    def pull_authorization(self, repository: str) -> str:
        """An Authorization header by which the control plane itself reads one repository, for a minute.

        No login and no audit row: nobody is given anything, and the header goes to `url` alone.
        """
        now = int(time.time())
        bearer = jwts.sign_bearer(
            self.signing_key(),
            subject=RESOLVER_SUBJECT,
            jti=uuid4().hex,
            access={repository: [scopes.PULL]},
            now=now,
            not_after=now + jwts.MIN_EXPIRES_IN_SECONDS,
        )
        return f"Bearer {bearer.token}"

    def signing_key(self) -> keys.SigningKey:
        """Raises KeyUnusable."""
        return keys.load(self.key_file, self.certificate_file)

"""The caller as a value: what an agent token lets its holder do, with nothing secret in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID


class Scope(StrEnum):
    ENVIRONMENTS_READ = "environments:read"
    RELEASES_WRITE = "releases:write"
    REGISTRY_PUSH = "registry:push"
    LOGS_READ = "logs:read"
    TIMELINE_WRITE = "timeline:write"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `token_id` is None for an operator, whose name is then in `operator`.

    `idempotent_call` is the claim of the call's Idempotency-Key, by which what it stored is found again after a crash.
    """

    project_id: UUID
    token_id: str | None = None
    token_name: str | None = None
    profile: str | None = None
    session_id: UUID | None = None
    operator: str | None = None
    scopes: frozenset[str] = frozenset()
    environment_ids: frozenset[UUID] | None = None
    idempotent_call: int | None = None

    # DRF asks its "user" this; a principal exists only after authentication.
    is_authenticated = True

    def may_see(self, environment_id: UUID) -> bool:
        return self.environment_ids is None or environment_id in self.environment_ids

    def as_by(self) -> dict[str, str]:
        """Plain values for events and audit rows."""
        named = {
            "token": self.token_id,
            "token_name": self.token_name,
            "profile": self.profile,
            "session": str(self.session_id) if self.session_id else None,
            "operator": self.operator,
            "call": str(self.idempotent_call) if self.idempotent_call else None,
        }
        return {name: value for name, value in named.items() if value is not None}

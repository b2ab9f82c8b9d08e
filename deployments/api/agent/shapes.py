"""The shapes of answers, for the OpenAPI document; what fills them is in deployments.selectors, and tests hold
both together."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from ...domain.states import EnvironmentState, ReleaseStatus, VolumeState


class Shape(BaseModel):
    """More members may come with time; those that stand here stay."""

    model_config = ConfigDict(extra="allow", title=None)


class Edit(Shape):
    op: Literal["remove", "replace", "add", "move"]
    pointer: str


class Problem(Shape):
    """One fault of what was sent, with its place, its cure and, where there is one, the edits that mend it."""

    code: str
    severity: Literal["error", "warning"]
    pointer: str
    line: int | None
    column: int | None
    message: str
    hint: str
    fix: list[Edit] | None
    docs: str


class Refusal(Shape):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    retryable: bool
    problems: list[Problem] = Field(default_factory=list)


class Dimension(Shape):
    state: str
    code: str
    summary: str


class Observed(Shape):
    """Six dimensions that never collapse into one."""

    app: Dimension
    node: Dimension
    provider: Dimension
    routes: Dimension
    disk: Dimension
    drift: Dimension


class Route(Shape):
    service: str
    port: int
    mode: str
    url: str | None


class Volume(Shape):
    """`id` and `server` are the provider's own; null until there is one."""

    name: str
    id: str | None
    state: VolumeState
    size_gb: int
    server: str | None


class Environment(Shape):
    id: UUID
    slug: str
    state: EnvironmentState
    policy: dict[str, Any]
    placement: dict[str, Any] | None
    observed: Observed
    live_sequence: int | None
    pending_sequence: int | None
    routes: list[Route]
    variables: list[str]
    secrets: list[str]
    volumes: list[Volume]


class EnvironmentList(Shape):
    results: list[Environment]
    next: str | None


class Credentials(Shape):
    """Shown once and kept nowhere."""

    registry: str
    username: str
    password: str
    namespace: str
    expires_at: datetime
    path_scoped: bool
    instructions: str


class SubmittedBy(Shape):
    token: str | None
    profile: str | None
    session: str | None


class ServiceEvidence(Shape):
    state: str
    health: str | None
    exit_code: int | None
    restarts: int
    expected_digest: str
    observed_digest: str | None
    log_tail: Any


class Evidence(Shape):
    code: str
    summary: str
    services: dict[str, ServiceEvidence]


class Waiting(Shape):
    on: str
    code: str
    message: str
    since: str
    retry_at: str | None


class Release(Shape):
    sequence: int
    status: ReleaseStatus
    manifest_digest: str
    submitted_by: SubmittedBy
    created_at: datetime
    evidence: Evidence | None
    waiting: Waiting | None


class ReleaseList(Shape):
    results: list[Release]
    next: str | None


class Change(Shape):
    kind: str
    service: str | None
    what: str


class Plan(Shape):
    plan_hash: str
    from_sequence: int | None
    to: dict[str, Any]
    changes: list[Change]
    restarts: list[Any]
    downtime: Literal["none", "brief", "stop-first"]
    downtime_reason: str | None
    new_routes: list[Any]
    volumes_created: list[Any]
    missing_secrets: list[str]
    policy: list[Any]
    warnings: list[Problem]


class Event(Shape):
    id: int
    at: datetime
    kind: str
    severity: str
    by: dict[str, Any]
    data: dict[str, Any]


class EventList(Shape):
    results: list[Event]
    next: str | None


class LogLine(Shape):
    at: str
    service: str
    stream: str
    text: str


class LogLines(Shape):
    lines: list[LogLine]
    next: str | None


class VolumeList(Shape):
    results: list[Volume]
    next: str | None


class CatalogueEntry(Shape):
    code: str
    severity: Literal["error", "warning"]
    status: int | None
    title: str
    cure: str
    example: str


class Catalogue(Shape):
    results: list[CatalogueEntry]
    next: str | None

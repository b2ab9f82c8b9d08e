"""Heartbeats: what a node observed, and the signed reply that says what is wanted of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from .decode import UUID, Between, Count, Items, Key, Line, Name, Nonce, OptionalDigest, Ordinal, Text

MAX_HEARTBEAT_BYTES = 1024 * 1024
ApplyState = Literal["running", "reverting", "live", "failed", "cancelled", "stopped", "retired"]
DimensionState = Literal["ok", "warning", "failed", "unknown", "none"]
Desired = Literal["run", "stop", "retire"]
RouteMode = Literal["public", "private"]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One aspect of an environment's status: `state`, a stable code ("" when there is nothing to say), a sentence."""

    state: DimensionState
    code: Annotated[str, Text(64)]
    summary: Line


@dataclass(frozen=True, slots=True)
class ServiceObserved:
    """One service as seen on the node.

    `state` and `health` are Docker's words ("missing" and "none" where there is no container or no check);
    `meaning` says what healthy meant: `healthy`, `running-no-check`, `completed`, or why not (`unhealthy`, `starting`,
    `exited`, `missing`). `release` is the sequence that last changed the service, 0 if unknown.
    """

    state: Annotated[str, Text(32)]
    health: Annotated[str, Text(32)]
    meaning: Annotated[str, Text(64)]
    exit_code: Annotated[int, Between(-(2**31), 2**31)] | None
    restarts: Count
    expected_digest: OptionalDigest
    observed_digest: OptionalDigest
    release: Count


@dataclass(frozen=True, slots=True)
class RouteObserved:
    """One route as the node serves it now; `url` is null where it is reachable from nowhere outside the network."""

    service: Name
    port: Annotated[int, Between(1, 65535)]
    mode: RouteMode
    host: Annotated[str, Text(253)] | None
    path: Annotated[str, Text(1024)]
    url: Annotated[str, Text(2048)] | None


@dataclass(frozen=True, slots=True)
class Observed:
    """Five of the six dimensions of an environment (the provider's is the control plane's own), with the parts."""

    app: Dimension
    node: Dimension
    routes: Dimension
    disk: Dimension
    drift: Dimension
    services: Annotated[Mapping[Name, ServiceObserved], Items(100)]
    routes_served: Annotated[tuple[RouteObserved, ...], Items(500)]


@dataclass(frozen=True, slots=True)
class ApplyReport:
    """How far the last apply is. `progressed_at` is when it last made progress, from which its deadline counts."""

    seq: Ordinal
    step: Annotated[str, Text(32)]
    state: ApplyState
    detail: Line
    started_at: Count
    progressed_at: Count


@dataclass(frozen=True, slots=True)
class EnvironmentReport:
    """What the node knows of one environment: `current_seq` 0 and `current_digest` "" mean that nothing is current."""

    environment_id: UUID
    max_seen_seq: Count
    current_seq: Count
    current_digest: OptionalDigest
    apply: ApplyReport | None
    observed: Observed


@dataclass(frozen=True, slots=True)
class Disk:
    """Space where Docker keeps its images and containers, in bytes."""

    free_bytes: Count
    total_bytes: Count


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The body of `POST /heartbeat?wait=N`. `counter` grows with each one of a boot; `nonce` comes back signed."""

    nonce: Nonce
    counter: Ordinal
    boot_id: Annotated[str, Text(64, r"[A-Za-z0-9-]{1,64}")]
    agent_version: Annotated[str, Text(64)]
    node_generation: Ordinal
    keyset_version: Ordinal
    environments: Annotated[tuple[EnvironmentReport, ...], Items(1000)]
    disk: Disk


@dataclass(frozen=True, slots=True)
class EnvironmentOrder:
    """What is wanted of one environment placed on this node. Sequences of 0 mean none; the digest is then ""."""

    environment_id: UUID
    generation: Ordinal
    desired: Desired
    pending_release_seq: Count
    pending_digest: OptionalDigest
    cancel_seq: Count


@dataclass(frozen=True, slots=True)
class LogRequest:
    """Log lines that somebody waits for: of one service or all (null), after `since`, from `cursor` on."""

    id: UUID
    environment_id: UUID
    service: Name | None
    since: Annotated[str, Text(40)] | None
    limit: Annotated[int, Between(1, 1000)]
    cursor: Annotated[str, Text(512)] | None


@dataclass(frozen=True, slots=True)
class Reply:
    """The payload of an `application/vnd.sam.heartbeat-reply.v1+json` envelope, signed by a release key.

    It repeats the heartbeat's nonce. `pending_release_seq` and `deploy_public_key` (base64 of 32 bytes) are hints:
    trust comes from the keyset. `next_heartbeat_s` is how long to wait before the next one, `apply_deadline_s` how
    long an apply may go without progress.
    """

    nonce: Nonce
    server_time: Count
    environments: Annotated[tuple[EnvironmentOrder, ...], Items(1000)]
    keyset_version: Ordinal
    deploy_public_key: Key
    next_heartbeat_s: Annotated[int, Between(0, 3600)]
    apply_deadline_s: Annotated[int, Between(1, 86_400)]
    log_requests: Annotated[tuple[LogRequest, ...], Items(100)]

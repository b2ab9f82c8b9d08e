"""Receipts: the node's signed word on how a sequence ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from .decode import UUID, Between, Count, Digest, Items, Line, Name, OptionalDigest, Ordinal, Text
from .heartbeat import RouteObserved

Outcome = Literal["live", "failed", "cancelled", "stopped", "retired"]
OUTCOMES: tuple[Outcome, ...] = ("live", "failed", "cancelled", "stopped", "retired")
MAX_LOG_TAIL = 8192


@dataclass(frozen=True, slots=True)
class ServiceEvidence:
    """One service as it was when the outcome was decided, before any clean-up; words as in ServiceObserved.

    `log_tail` is redacted, its lines separated by LF.
    """

    state: Annotated[str, Text(32)]
    health: Annotated[str, Text(32)]
    meaning: Annotated[str, Text(64)]
    exit_code: Annotated[int, Between(-(2**31), 2**31)] | None
    restarts: Count
    expected_digest: OptionalDigest
    observed_digest: OptionalDigest
    log_tail: Annotated[str, Text(MAX_LOG_TAIL)]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The payload of an `application/vnd.sam.receipt.v1+json` envelope, signed by the node's own key.

    `code` is stable ("" on success), `serving_seq` the sequence that serves afterwards (0: none), which tells a failed
    first release from a failed upgrade. `timings_ms` is step to milliseconds.
    """

    v: Literal[1]
    node_id: Annotated[str, Text(128)]
    environment_id: UUID
    generation: Ordinal
    seq: Ordinal
    release_digest: Digest
    outcome: Outcome
    code: Annotated[str, Text(64)]
    summary: Line
    serving_seq: Count
    services: Annotated[Mapping[Name, ServiceEvidence], Items(100)]
    routes_served: Annotated[tuple[RouteObserved, ...], Items(500)]
    started_at: Count
    finished_at: Count
    timings_ms: Annotated[Mapping[Annotated[str, Text(32)], Count], Items(64)]

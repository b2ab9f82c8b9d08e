"""Events of an apply, as a node reports them: ordered, batched, idempotent by id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from .decode import UUID, Base64, Count, Items, Line, Moment, Text
from .envelope import MAX_ENVELOPE_BYTES

Kind = Literal["apply:begin", "apply:step", "apply:progress", "apply:revert", "alarm"]
EventState = Literal["begin", "end", "failed"]
Severity = Literal["info", "warning", "error"]
STEPS = (
    "verify", "disk", "volumes", "login", "pull", "pre-flight", "create", "start",
    "health", "settle", "routes", "pointer", "stop-old", "done", "revert",
)  # fmt: skip
MAX_BATCH_EVENTS = 200
MAX_BATCH_BYTES = 2 * 1024 * 1024


def extends_deadline(kind: str, step: str) -> bool:
    """The rule of `Event.extends_deadline`, for both sides: an apply's beginning, and every report of its pull."""
    return kind == "apply:begin" or (step == "pull" and kind in ("apply:step", "apply:progress"))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `at` is RFC 3339 in UTC; `step` is one of STEPS, or "" for an alarm; `seq` the sequence
    that it speaks of, 0 where it speaks of none."""

    id: UUID
    seq: Count
    at: Moment
    kind: Kind
    step: Annotated[str, Text(32)]
    state: EventState
    detail: Line
    severity: Severity

    def extends_deadline(self) -> bool:
        """Whether the apply's deadline counts anew from here: it is the last progress of a pull that counts."""
        return extends_deadline(self.kind, self.step)


@dataclass(frozen=True, slots=True)
class EventBatch:
    """The body of `POST /environments/{id}/releases/{seq}/events`, oldest first. `receipt` is the base64 of the signed
    envelope; it comes with the last events of its sequence. The whole batch is accepted or none of it."""

    events: Annotated[tuple[Event, ...], Items(MAX_BATCH_EVENTS)]
    receipt: Annotated[str, Base64(max_bytes=MAX_ENVELOPE_BYTES)] | None

"""The port between the agent's loop and its engine: what is asked of an apply, and what it answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from .wire.events import EventState, Kind, Severity
from .wire.heartbeat import Disk, Observed, RouteObserved
from .wire.logs import LogLine
from .wire.receipt import Outcome as OutcomeName
from .wire.receipt import ServiceEvidence


@dataclass(frozen=True, slots=True)
class Progress:
    """One event of an apply, before the reporter gives it an id and a time.

    Any of them counts as progress for the deadline of `seq`. `detail` must hold no secret: redact first.
    """

    seq: int
    kind: Kind
    step: str
    state: EventState
    detail: str = ""
    severity: Severity = "info"


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a sequence ended: the fields of the receipt that only the engine knows.

    `serving_seq` is what serves afterwards (0: nothing). Times in Unix seconds, timings in milliseconds by step.
    """

    seq: int
    outcome: OutcomeName
    code: str
    summary: str
    serving_seq: int
    started_at: int
    finished_at: int
    services: Mapping[str, ServiceEvidence] = field(default_factory=dict)
    routes_served: Sequence[RouteObserved] = ()
    timings_ms: Mapping[str, int] = field(default_factory=dict)


class Cancellation:
    """Cancel by order or by deadline; `code` says which, for the outcome (`apply.cancelled`, `apply.deadline`)."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.code = ""

    def set(self, code: str) -> None:
        """Ask the apply to revert; the first reason stays."""
        if not self._event.is_set():
            self.code = code
            self._event.set()

    def is_set(self) -> bool:
        """Whether the apply must revert."""
        return self._event.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait up to `timeout` seconds for the order to revert."""
        return self._event.wait(timeout)


class Engine(Protocol):
    """Carries out verified payloads that the store holds. One call at a time per environment; the loop sees to that.

    Payloads are read from the store (`Store.release(environment_id, seq)`), verified again by nobody: the loop verified
    the bytes and wrote them. No method raises for what went wrong in an apply: that is an Outcome. The loop records
    each Outcome as `receipt.json` beside the payload, so a journal without one beside it is unfinished business. The
    engine reports every step of an apply, from `apply:begin` on; the loop only what it refused before.
    """

    def apply(self, environment_id: str, seq: int, *, cancel: Cancellation, report: Report) -> Outcome:
        """Make `seq` current, or revert. `live`, `failed`, or `cancelled` when `cancel` was set before the switch.

        With `cancel.code == "apply.deadline"` the outcome is `failed` with that code.
        """

    def recover(self, environment_id: str, *, cancel: Cancellation, report: Report) -> Outcome | None:
        """Finish or undo what the newest journal without an outcome began; None if there is none.

        Also makes what should run of `current` run. The loop calls it at boot, only after `current` was verified.
        """

    def stop(
        self,
        environment_id: str,
        seq: int,
        action: Literal["stop", "retire"],
        *,
        cancel: Cancellation,
        report: Report,
    ) -> Outcome:
        """Take the environment down by order `seq`: routes off, containers stopped and removed, `current` removed."""

    def observe(self, environment_id: str) -> Observed:
        """What runs now, compared with `current`; bounded to a few seconds. `drift` may be overruled by the loop."""

    def read_logs(
        self, environment_id: str, service: str | None, since: str | None, limit: int, cursor: str | None
    ) -> tuple[list[LogLine], str | None]:
        """Lines of the running containers, oldest first, not redacted, and the cursor that continues after them."""

    def disk(self) -> Disk:
        """Space where Docker keeps its images and containers."""

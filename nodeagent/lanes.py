"""Lanes: one for each environment, in which at most one apply runs; several lanes run side by side, within a bound."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from .ports import Cancellation, Progress
from .traces import trace
from .wire.events import extends_deadline
from .wire.heartbeat import ApplyReport, ApplyState

log = logging.getLogger(__name__)
CANCELLED = "apply.cancelled"
DEADLINE = "apply.deadline"
DEFAULT_PARALLEL = 4


@dataclass(slots=True)
class _Run:
    """What a lane is doing, or did last."""

    seq: int
    cancel: Cancellation
    started_at: int
    progressed_at: int
    step: str = "verify"
    state: ApplyState = "running"
    detail: str = ""


class Lane:
    """One environment's worker. All methods may be called from any thread."""

    def __init__(self, environment_id: str, slots: threading.Semaphore):
        self.environment_id = environment_id
        self.blocked = ""
        """The code with which the payload of `current` was refused at boot; "" if it was not."""
        self._slots = slots
        self._lock = threading.Lock()
        self._running: _Run | None = None
        self._reported: _Run | None = None

    def start(self, seq: int, work: Callable[[Cancellation], None], *, progressed_at: int | None = None) -> bool:
        """Run `work` in a thread of its own; False if the lane is busy: concurrent applies are rejected.

        `progressed_at` is when the apply last made progress, if that was before now.
        """
        now = int(time.time())
        run = _Run(seq, Cancellation(), now, now if progressed_at is None else progressed_at)
        with self._lock:
            if self._running is not None:
                return False
            self._running = run
        name = f"apply-{self.environment_id[:8]}-{seq}"
        threading.Thread(target=self._work, args=(run, work), name=name, daemon=True).start()
        return True

    def _work(self, run: _Run, work: Callable[[Cancellation], None]) -> None:
        try:
            with self._slots:
                work(run.cancel)
        except Exception as error:  # noqa: BLE001  the last net: a lane that died in silence would tell nobody
            log.error("Sequence %d of %s stopped in the middle: %s", run.seq, self.environment_id, trace(error))
        finally:
            with self._lock:
                self._running = None

    def accepted(self) -> None:
        """The payload of the running sequence is accepted: from here on the lane reports it as its apply."""
        with self._lock:
            self._reported = self._running

    def note(self, progress: Progress) -> None:
        """Remember how far the apply is, and count its deadline anew where the event extends it."""
        with self._lock:
            run = self._reported
            if run is None or run.seq != progress.seq:
                return
            run.step, run.detail = progress.step or run.step, progress.detail
            if progress.kind == "apply:revert":
                run.state = "reverting"
            if extends_deadline(progress.kind, progress.step):
                run.progressed_at = int(time.time())

    def end(self, state: ApplyState, detail: str) -> None:
        """The apply ended so."""
        with self._lock:
            if self._reported is not None:
                self._reported.state, self._reported.detail = state, detail

    def cancel(self, seq: int, code: str) -> None:
        """Ask the running apply to revert, if it is of that sequence."""
        with self._lock:
            if self._running is not None and self._running.seq == seq:
                self._running.cancel.set(code)

    def expire(self, deadline_seconds: int) -> None:
        """Ask the running apply to revert if its deadline has passed: the control plane has given it up by then."""
        with self._lock:
            run = self._running
            if run is not None and time.time() - run.progressed_at > deadline_seconds:
                run.cancel.set(DEADLINE)

    @property
    def is_busy(self) -> bool:
        """Whether something runs in it."""
        return self._running is not None

    def report(self) -> ApplyReport | None:
        """How far the last accepted apply is."""
        with self._lock:
            run = self._reported
            if run is None:
                return None
            return ApplyReport(run.seq, run.step, run.state, run.detail[:4096], run.started_at, run.progressed_at)

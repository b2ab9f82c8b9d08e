"""Reports: events and receipts wait on disk, in order, until the control plane has acknowledged them.

For each sequence the spool has `{environment_id}.{seq}.events` (one event per line, fsynced) and, once it ended,
`{environment_id}.{seq}.receipt`. What the control plane refuses for good is set aside as `*.refused` and blocks nobody.
"""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from . import files
from .ports import Progress
from .wire import base64text
from .wire.decode import decode, encode
from .wire.errors import WireError
from .wire.events import MAX_BATCH_EVENTS, Event, EventBatch

log = logging.getLogger(__name__)
FIRST_BACKOFF_SECONDS = 0.5
MAX_BACKOFF_SECONDS = 30.0
PROGRESS_INTERVAL_SECONDS = 1.0
MAX_SPOOLED_BYTES = 4 * 1024 * 1024
"""Of one sequence's events; later ones are dropped, since a full disk helps nobody. The receipt says how it ended."""
MAX_DETAIL = 1000
_SPOOLED = re.compile(r"([0-9a-f-]{36})\.([1-9][0-9]{0,15})\.(?:events|receipt)")


class RefusedError(Exception):
    """What `Send` raises when the control plane will never take this batch."""


class UnsentError(Exception):
    """What `Send` raises when the batch may be taken later."""


class Send(Protocol):
    """Delivers one batch. Idempotent by event id. Raises RefusedError or UnsentError."""

    def __call__(self, environment_id: str, seq: int, batch: EventBatch) -> None: ...


@dataclass(frozen=True, slots=True, order=True)
class _Spooled:
    """One sequence's reports on disk."""

    environment_id: str
    seq: int
    directory: Path

    @property
    def events(self) -> Path:
        return self.directory / f"{self.environment_id}.{self.seq}.events"

    @property
    def receipt(self) -> Path:
        return self.directory / f"{self.environment_id}.{self.seq}.receipt"


class Reporter:
    """The spool and the thread that empties it."""

    def __init__(self, spool: Path, send: Send, *, acknowledged: Callable[[str, int], None] | None = None):
        """`acknowledged` is called with environment and sequence when a receipt was taken."""
        self._spool = spool
        self._send = send
        self._acknowledged = acknowledged or (lambda environment_id, seq: None)
        self._writing = threading.Lock()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._last_progress: dict[tuple[str, int, str], float] = {}

    def add(self, environment_id: str, progress: Progress) -> None:
        """Spool one event. Too frequent progress is left out. A full disk loses the event, not the apply."""
        if self._is_too_frequent(environment_id, progress):
            return
        event = Event(
            id=str(uuid.uuid4()),
            seq=progress.seq,
            at=_now(),
            kind=progress.kind,
            step=progress.step,
            state=progress.state,
            detail=progress.detail[:MAX_DETAIL],
            severity=progress.severity,
        )
        path = _Spooled(environment_id, progress.seq, self._spool).events
        try:
            with self._writing:
                if path.exists() and path.stat().st_size > MAX_SPOOLED_BYTES:
                    return
                files.append_line(path, encode(event))
        except OSError as error:
            log.error("An event of sequence %d is lost: %s", progress.seq, error.strerror)
        self._news.set()

    def add_receipt(self, environment_id: str, seq: int, envelope: bytes) -> None:
        """Spool the outcome; it goes with the last of the sequence's events. Raises OSError."""
        with self._writing:
            files.replace_file(_Spooled(environment_id, seq, self._spool).receipt, envelope)
        self._news.set()

    def has_receipt(self, environment_id: str, seq: int) -> bool:
        """Whether an outcome waits for delivery."""
        return _Spooled(environment_id, seq, self._spool).receipt.exists()

    def pending(self) -> int:
        """How many sequences have something that is not acknowledged."""
        return len(self._waiting())

    def run(self) -> None:
        """Deliver for ever, with backoff; returns after `stop`."""
        backoff = FIRST_BACKOFF_SECONDS
        while not self._stopping.is_set():
            self._news.wait()
            self._news.clear()
            while not self._stopping.is_set() and not self.deliver():
                # Jitter, or all nodes would come back in the same second.
                self._stopping.wait(backoff * random.uniform(0.5, 1.0))  # noqa: S311  no secret
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
            backoff = FIRST_BACKOFF_SECONDS

    def start(self) -> None:
        """Deliver from a thread of its own, beginning with what an earlier run left."""
        self.repair()
        self._news.set()
        threading.Thread(target=self.run, name="reporter", daemon=True).start()

    def repair(self) -> None:
        """Cut off what a crash left of a last line."""
        for path in self._spool.glob("*.events"):
            files.cut_torn_line(path)

    def stop(self) -> None:
        """End `run`; what is not delivered stays spooled."""
        self._stopping.set()
        self._news.set()

    def deliver(self) -> bool:
        """Send everything once, in order. False if something must be tried again later."""
        for spooled in self._waiting():
            try:
                self._deliver_one(spooled)
            except RefusedError as error:
                log.error("Reports of sequence %d are refused for good: %s", spooled.seq, error)
                self._set_aside(spooled)
            except (UnsentError, OSError) as error:
                log.warning("Reports of sequence %d wait: %s", spooled.seq, error)
                return False
        return True

    def _deliver_one(self, spooled: _Spooled) -> None:
        while True:
            lines, events = self._read(spooled)
            is_last = len(events) <= MAX_BATCH_EVENTS
            receipt = spooled.receipt.read_bytes() if is_last and spooled.receipt.exists() else None
            if not events and receipt is None:
                # Lines that are no events (torn by a crash) are all that is left.
                self._drop(spooled, lines, None)
                return
            batch = EventBatch(events[:MAX_BATCH_EVENTS], base64text.to_text(receipt) if receipt is not None else None)
            self._send(spooled.environment_id, spooled.seq, batch)
            taken = lines if is_last else lines[: _lines_of(lines, MAX_BATCH_EVENTS)]
            self._drop(spooled, taken, receipt)
            if receipt is not None:
                self._acknowledged(spooled.environment_id, spooled.seq)
            if is_last:
                return

    def _read(self, spooled: _Spooled) -> tuple[list[bytes], tuple[Event, ...]]:
        with self._writing:
            try:
                lines = spooled.events.read_bytes().splitlines(keepends=True)
            except FileNotFoundError:
                lines = []
        return lines, tuple(event for event in map(_event, lines) if event is not None)

    def _drop(self, spooled: _Spooled, lines: list[bytes], receipt: bytes | None) -> None:
        """Forget what was acknowledged, keep what came meanwhile."""
        with self._writing:
            with contextlib.suppress(FileNotFoundError):
                rest = spooled.events.read_bytes()[sum(map(len, lines)) :]
                if rest:
                    files.replace_file(spooled.events, rest)
                else:
                    spooled.events.unlink()
            if receipt is not None:
                spooled.receipt.unlink(missing_ok=True)

    def _set_aside(self, spooled: _Spooled) -> None:
        with self._writing:
            for path in (spooled.events, spooled.receipt):
                if path.exists():
                    path.rename(path.with_name(f"{path.name}.refused"))

    def _waiting(self) -> list[_Spooled]:
        matches = (_SPOOLED.fullmatch(path.name) for path in self._spool.iterdir())
        return sorted({_Spooled(match[1], int(match[2]), self._spool) for match in matches if match})

    def _is_too_frequent(self, environment_id: str, progress: Progress) -> bool:
        if progress.kind != "apply:progress":
            return False
        key = (environment_id, progress.seq, progress.step)
        now = time.monotonic()
        if now - self._last_progress.get(key, float("-inf")) < PROGRESS_INTERVAL_SECONDS:
            return True
        self._last_progress[key] = now
        return False


def _event(line: bytes) -> Event | None:
    try:
        return decode(Event, line)
    except WireError:
        log.error("A line of the spool is no event, and is left out")
        return None


def _lines_of(lines: list[bytes], events: int) -> int:
    """How many lines hold the first so many events."""
    seen = 0
    for index, line in enumerate(lines):
        if seen == events:
            return index
        seen += _event(line) is not None
    return len(lines)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""How often the token service refuses, for the log: a line at once, then one per interval with the count. Pure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

INTERVAL_SECONDS = 10.0


class RefusalRate:
    """Counts refusals and says when a line is due, so that a flood of bad logins does not flood the log."""

    def __init__(self, interval_seconds: float = INTERVAL_SECONDS, clock: Callable[[], float] = time.monotonic):
        self._interval, self._clock = interval_seconds, clock
        self._lock = threading.Lock()
        self._unsaid = 0
        self._said_at: float | None = None

    def count(self) -> int | None:
        """One more. Answers how many there were since the last line when a line is due, else None."""
        with self._lock:
            self._unsaid += 1
            now = self._clock()
            if self._said_at is not None and now - self._said_at < self._interval:
                return None
            unsaid, self._unsaid, self._said_at = self._unsaid, 0, now
            return unsaid

"""What an apply's journal says about how far it came, and the test aid that ends the agent at a chosen line of it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .store import Journal

State = Literal["begin", "end", "failed"]
CRASH_AT, TEST_AIDS = "SAM_AGENT_CRASH_AT", "SAM_AGENT_TEST_AIDS"
MAX_ATTEMPTS = 3
"""How often one sequence is begun anew after crashes: what kills the agent each time must not be tried for ever."""


@dataclass(frozen=True, slots=True)
class Story:
    """A journal, read. An apply is `committed` once `current` may point to it, `over` once nothing is left to do."""

    entries: tuple[Mapping[str, Any], ...]

    @property
    def is_begun(self) -> bool:
        return bool(self.entries)

    @property
    def action(self) -> str:
        """apply, stop or retire."""
        return str(self._last("action") or "apply")

    @property
    def previous(self) -> int:
        """The sequence that was current when it began, 0 for none."""
        return int(self._last("previous") or 0)

    @property
    def draft(self) -> Mapping[str, Any] | None:
        """The outcome that a revert works towards, None where there is no revert."""
        found: Mapping[str, Any] | None = self._last("draft")
        return found

    @property
    def attempts(self) -> int:
        """How often it was begun."""
        return sum(1 for e in self.entries if e["step"] == "verify" and e["state"] == "begin")

    @property
    def switching(self) -> bool:
        """Whether the routes may lead to the new containers, which then must not be taken away like leftovers."""
        return self.has("settle", "end") and self.draft is None

    @property
    def committed(self) -> bool:
        return self.has("pointer", "end")

    @property
    def over(self) -> bool:
        return self.has("done", "end") or self.has("revert", "end")

    @property
    def outcome(self) -> Mapping[str, Any] | None:
        """The outcome as it was decided, None before."""
        found: Mapping[str, Any] | None = self._last("outcome")
        return found

    def has(self, step: str, state: State) -> bool:
        """Whether the newest attempt wrote this line."""
        return any(e["step"] == step and e["state"] == state for e in self._newest())

    def _newest(self) -> tuple[Mapping[str, Any], ...]:
        begins = [i for i, e in enumerate(self.entries) if e["step"] == "verify" and e["state"] == "begin"]
        return self.entries[begins[-1] :] if begins else self.entries

    def _last(self, member: str) -> Any:
        return next((e[member] for e in reversed(self.entries) if member in e), None)


def read(journal: Journal) -> Story:
    """The story so far; an empty one where there is no journal."""
    return Story(tuple(journal.entries()))


def write(journal: Journal, step: str, state: State, **more: Any) -> None:
    """Add a line, fsynced. With the test aids on, the agent may end right behind it, as by kill -9."""
    journal.append({"at": round(time.time(), 3), "step": step, "state": state, **more})
    _crash_if_asked(step, state)


def check_test_aids() -> None:
    """Refuse to run with a crash ordered unless test aids are allowed: nobody should meet this in production."""
    if os.environ.get(CRASH_AT) and os.environ.get(TEST_AIDS) != "1":
        raise ValueError(f"{CRASH_AT} is a test aid. Unset it, or set {TEST_AIDS}=1 as well.")


def _crash_if_asked(step: str, state: State) -> None:
    """SAM_AGENT_CRASH_AT is STEP (its beginning), STEP:begin or STEP:end."""
    wanted, _, when = os.environ.get(CRASH_AT, "").partition(":")
    if wanted == step and (when or "begin") == state and os.environ.get(TEST_AIDS) == "1":
        os.kill(os.getpid(), signal.SIGKILL)

"""Query parameters, read strictly: what is unknown, repeated or out of bounds is refused by name, all of it at once."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime

from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from ...domain.problems import Problem
from ...errors import DeploymentError

_WHOLE = re.compile(r"[0-9]{1,18}", re.ASCII)
_TRUTH = {"true": True, "1": True, "false": False, "0": False}


class InvalidParameters(DeploymentError):
    """One or more query parameters; `problems` names each."""

    code, status = "request.parameter", 400

    def __init__(self, problems: list[Problem]):
        self.problems = problems

    def __str__(self) -> str:
        return " ".join(problem.message for problem in self.problems)


class Parameters:
    """Collects faults while it is asked; `check()` raises InvalidParameters with all of them.

    A fault answers the default, so that the view can read on to the next parameter.
    """

    def __init__(self, query: QueryDict):
        self._query = query
        self._known: set[str] = set()
        self._faults: list[Problem] = []

    def whole(self, name: str, *, default: int, least: int, most: int) -> int:
        text = self._one(name)
        if text is None:
            return default
        if _WHOLE.fullmatch(text) and least <= int(text) <= most:
            return int(text)
        self._refuse(name, text, f"a whole number from {least} to {most}")
        return default

    def flag(self, name: str) -> bool:
        text = self._one(name)
        if text is not None and text not in _TRUTH:
            self._refuse(name, text, "true or false")
        return _TRUTH.get(text or "", False)

    def choice(self, name: str, choices: Collection[str], *, default: str) -> str:
        text = self._one(name)
        if text is None or text in choices:
            return text or default
        self._refuse(name, text, f"one of {', '.join(choices)}")
        return default

    def matching(self, name: str, pattern: re.Pattern[str], rule: str, *, empty_is_absent: bool = True) -> str | None:
        text = self._one(name)
        if text is None or (not text and empty_is_absent):
            return None
        if pattern.fullmatch(text):
            return text
        self._refuse(name, text, rule)
        return None

    def text(self, name: str, *, max_length: int) -> str | None:
        """Any text of at most `max_length` characters without NUL; an empty one counts as absent."""
        text = self._one(name)
        if text and (len(text) > max_length or "\0" in text):
            self._refuse(name, text, f"a text of at most {max_length} characters")
            return None
        return text or None

    def plan_hash(self, name: str, *, max_length: int) -> str | None:
        """A text that must not be empty: whoever sends an empty one meant to be held to a plan, and would not be."""
        text = self._one(name)
        if text is not None and not 0 < len(text) <= max_length:
            self._refuse(name, text, f"the plan_hash of a plan, 1 to {max_length} characters")
            return None
        return text

    def moment(self, name: str) -> str:
        """RFC 3339 in UTC, from that or from Unix seconds; "" when absent."""
        text = self._one(name)
        if not text:
            return ""
        moment = _moment(text)
        if moment is None:
            self._refuse(name, text, "Unix seconds, or a time such as 2030-01-31T12:00:00Z")
            return ""
        return moment.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"

    def refuse(self, name: str, why: str, cure: str) -> None:
        """Add a fault that only the caller could see."""
        self._faults.append(_problem(name, f"{name}: {why}.", cure))

    def check(self) -> None:
        for name in sorted(set(self._query) - self._known):
            known = ", ".join(sorted(self._known)) or "none"
            self.refuse(name[:64], "there is no such parameter here", f"This call knows: {known}.")
        if self._faults:
            raise InvalidParameters(self._faults)

    def _one(self, name: str) -> str | None:
        self._known.add(name)
        given = self._query.getlist(name)
        if len(given) > 1:
            self.refuse(name, "given more than once", "Send it once.")
            return None
        return given[0] if given else None

    def _refuse(self, name: str, text: str, rule: str) -> None:
        self.refuse(name, f"{text[:64]!r} is not {rule}", f"Send {rule}, or leave it out.")


def _moment(text: str) -> datetime | None:
    try:
        if _WHOLE.fullmatch(text):
            return datetime.fromtimestamp(int(text), UTC)
        # An unescaped + of a time zone arrives as a space.
        moment = parse_datetime(text.replace(" ", "+") if "T" in text else text)
        return moment.astimezone(UTC) if moment and moment.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None


def _problem(name: str, message: str, hint: str) -> Problem:
    return Problem(
        code="request.parameter",
        severity="error",
        pointer="",
        line=None,
        column=None,
        message=message,
        hint=hint,
        fix=None,
    )

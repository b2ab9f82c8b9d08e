"""Log lines that a node sends because the control plane asked for them, redacted before they left it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from .decode import UUID, Items, Line, Moment, Name, Text

MAX_LINE_LENGTH = 16_384
MAX_ANSWER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line: `at` is RFC 3339 in UTC with up to nanoseconds, as Docker gives it."""

    at: Moment
    service: Name
    stream: Literal["stdout", "stderr"]
    text: Annotated[str, Text(MAX_LINE_LENGTH)]


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """The body of `POST /environments/{id}/logs`. `next` continues after the last line; `error` is "" or a sentence."""

    request_id: UUID
    lines: Annotated[tuple[LogLine, ...], Items(1000)]
    next: Annotated[str, Text(512)] | None
    error: Line

"""Log lines of running containers, merged in the order of their times, page by page."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from .containers import Container, Engine, timestamp
from .wire.logs import LogLine

STREAMS: tuple[Literal["stdout", "stderr"], ...] = ("stdout", "stderr")


def read(
    engine: Engine,
    containers: Iterable[Container],
    *,
    since: str | None,
    limit: int,
    cursor: str | None,
) -> tuple[list[LogLine], str | None]:
    """Lines oldest first, and the cursor that continues after them.

    Without `since` and `cursor`, the newest `limit` lines; else the first `limit` from there on. A cursor is the time
    of the last line given and how many lines of that time were given: Docker's times are to the nanosecond, and still
    not unique.
    """
    after, given = _parsed(cursor)
    start = after or since
    tail = None if start else limit
    lines = sorted(
        (
            LogLine(at, container.service, stream, text)
            for container in containers
            for stream in STREAMS
            for at, text in engine.log_lines(
                container.id, stream=stream, since=timestamp(start) if start else None, tail=tail
            )
        ),
        key=lambda line: line.at,
    )
    if start is None:
        lines = lines[-limit:]
    elif after is not None:
        lines = [line for line in lines if line.at > after] if not given else _behind(lines, after, given)
        lines = lines[:limit]
    else:
        lines = [line for line in lines if timestamp(line.at) >= timestamp(start)][:limit]
    return lines, _cursor(lines, after, given)


def _behind(lines: list[LogLine], after: str, given: int) -> list[LogLine]:
    same = [line for line in lines if line.at == after]
    return same[given:] + [line for line in lines if line.at > after]


def _parsed(cursor: str | None) -> tuple[str | None, int]:
    """Raises ValueError for what is no cursor of ours."""
    if not cursor:
        return None, 0
    at, _, given = cursor.partition("+")
    return at, int(given or 0)


def _cursor(lines: list[LogLine], after: str | None, given: int) -> str | None:
    if not lines:
        return f"{after}+{given}" if after else None
    last = lines[-1].at
    count = sum(1 for line in lines if line.at == last) + (given if last == after else 0)
    return f"{last}+{count}"

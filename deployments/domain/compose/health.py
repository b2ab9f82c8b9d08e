"""The `healthcheck` key: Docker's own test, and the probe that the node makes for images without a shell."""

from __future__ import annotations

import re
from typing import Final

from deployments.domain.compose import nodes, quantities
from deployments.domain.compose.findings import echo, remove, replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading, Row, accepted, boolean, integer, listing, mapping, text
from deployments.domain.manifest import Healthcheck, HttpCheck

_words = listing(text, "a list of strings")
_STATUS = re.compile(r"([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?", re.ASCII)
_URL_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", re.ASCII)
MAX_URL_PATH: Final = 1024
MINUTES = 60_000


def _test(node: Node, reading: Reading) -> tuple[str, ...] | None:
    if type(node) is not nodes.Sequence:
        line = text(node, reading)
        if line == "":
            _empty(node, reading)
            return None
        return None if line is None else ("CMD-SHELL", line)
    words: tuple[str, ...] | None = _words(node, reading)
    if not words:
        if not node.value:
            _empty(node, reading)
        return None
    return _checked(node, words, reading)


def _checked(node: Node, words: tuple[str, ...], reading: Reading) -> tuple[str, ...] | None:
    first, arguments = words[0], words[1:]
    if first not in ("CMD", "CMD-SHELL", "NONE"):
        reading.error(
            node,
            "compose.healthcheck_test",
            "A test begins with CMD, CMD-SHELL or NONE.",
            "Put CMD before the program.",
            (replace(node, ["CMD", *(item.value for item in node.value)]),) if len(words) == len(node.value) else None,
        )
        return None
    wanted = {"NONE": len(arguments) == 0, "CMD": len(arguments) > 0, "CMD-SHELL": len(arguments) == 1}
    if not wanted[first] and len(words) == len(node.value):
        reading.error(
            node,
            "compose.healthcheck_test",
            {"NONE": "NONE stands alone.", "CMD": "CMD needs a program.", "CMD-SHELL": "CMD-SHELL takes one line."}[
                first
            ],
            "Write [CMD, PROGRAM, ARGUMENT...], [CMD-SHELL, LINE] or [NONE].",
        )
        return None
    return words


def _empty(node: Node, reading: Reading) -> None:
    reading.error(
        node, "compose.healthcheck_test", "The test is empty.", "Remove it to keep the image's own, or write one.",
        (remove(node),),
    )  # fmt: skip


def url_path(node: Node, reading: Reading) -> str | None:
    """An absolute path of a URL, without query and without dots that lead upwards."""
    value = text(node, reading)
    if value is None:
        return None
    if (
        len(value) > MAX_URL_PATH
        or not _URL_PATH.fullmatch(value)
        or "//" in value
        or {".", ".."} & set(value.split("/"))
    ):
        reading.error(
            node,
            "compose.url_path",
            f"{echo(value)} is no path of a URL.",
            "Begin with a slash; write no query, no spaces, and no `.` or `..`.",
        )
        return None
    return value


def _status(node: Node, reading: Reading) -> tuple[int, int] | None:
    written = node.value if nodes.kind_of(node) == "integer" else text(node, reading)
    if written is None:
        return None
    match = _STATUS.fullmatch(written)
    first, last = match.groups() if match else ("1", "0")
    last = last or first
    if int(first) > int(last):
        reading.error(
            node,
            "compose.http_status",
            f"{echo(written)} is no range of statuses.",
            'Write one status (200) or a range ("200-399").',
        )
        return None
    return int(first), int(last)


HTTP_ROWS: tuple[Row, ...] = (
    accepted("path", url_path, "What the node asks for.", "path: /healthz", refused="path: healthz",
             schema={"type": "string", "pattern": "^/"}, required=True),
    accepted("port", integer(1, 65535, "a port from 1 to 65535"), "The container's port.", "port: 3000",
             refused="port: 0", schema={"type": ["integer", "string"]}, required=True),
    accepted("status", _status, "One status or a range; 200-399 if absent.", 'status: "200-299"', refused="status: 99",
             schema={"type": ["integer", "string"]}),
)  # fmt: skip
_http_members = mapping(HTTP_ROWS, "x-sam-http")


def _http(node: Node, reading: Reading) -> HttpCheck | None:
    members = _http_members(node, reading)
    if members is None or "path" not in members or "port" not in members:
        return None
    first, last = members.get("status", (200, 399))
    return HttpCheck(members["path"], members["port"], first, last)


_DURATION_SCHEMA = {"type": "string"}
_seconds_to_minutes = quantities.duration(1000, 5 * MINUTES, "1 second to 5 minutes")

ROWS: tuple[Row, ...] = (
    accepted("test", _test, "`[CMD, ...]`, `[CMD-SHELL, line]`, a line, or `[NONE]`.",
             "test: [CMD, wget, -q, localhost]", refused="test: [wget]",
             schema={"type": ["string", "array"], "items": {"type": "string"}}),
    accepted("interval", _seconds_to_minutes, "1 s to 5 min.", "interval: 10s", refused="interval: 100ms",
             schema=_DURATION_SCHEMA),
    accepted("timeout", _seconds_to_minutes, "1 s to 5 min.", "timeout: 5s", refused="timeout: 1h",
             schema=_DURATION_SCHEMA),
    accepted("retries", integer(1, 100, "a number from 1 to 100"), "1 to 100.", "retries: 3", refused="retries: 0",
             schema={"type": ["integer", "string"]}),
    accepted("start_period", quantities.duration(0, 10 * MINUTES, "0 seconds to 10 minutes"), "0 to 10 min.",
             "start_period: 30s", refused="start_period: 11m", schema=_DURATION_SCHEMA),
    accepted("start_interval", _seconds_to_minutes, "1 s to 5 min.", "start_interval: 1s", refused="start_interval: 0s",
             schema=_DURATION_SCHEMA),
    accepted("disable", boolean, "`true` turns the image's own check off.", "disable: true", refused='disable: "yes"',
             schema={"type": "boolean"}),
    accepted("x-sam-http", _http, "A probe that the node makes itself, for images without a shell; not beside `test`.",
             "x-sam-http: {path: /healthz, port: 3000}", refused="x-sam-http: {path: /healthz}",
             schema={"type": "object"}),
)  # fmt: skip
_members = mapping(ROWS, "a healthcheck")
_TIMINGS = {"interval": "interval_ms", "timeout": "timeout_ms", "start_period": "start_period_ms",
            "start_interval": "start_interval_ms", "retries": "retries"}  # fmt: skip


def healthcheck(node: Node, reading: Reading) -> Healthcheck | None:
    """The check, or None where the key says nothing."""
    members = _members(node, reading)
    if members is None:
        return None
    at = members.nodes
    disabled = members.get("disable", False)
    if "x-sam-http" in at and ("test" in at or disabled):
        reading.error(
            at["x-sam-http"],
            "compose.healthcheck_conflict",
            "`x-sam-http` does not go together with `test` or `disable`.",
            "Keep one of them.",
            at_key=True,
        )
    if disabled and "test" in at and members.get("test") != ("NONE",):
        reading.error(
            at["disable"],
            "compose.healthcheck_conflict",
            "`disable: true` and a `test` contradict each other.",
            "Keep one of them.",
            at_key=True,
        )
    timings = {field: members[key] for key, field in _TIMINGS.items() if key in members}
    test = ("NONE",) if disabled else members.get("test")
    check = Healthcheck(test, members.get("x-sam-http"), **timings)
    return None if check == Healthcheck() else check

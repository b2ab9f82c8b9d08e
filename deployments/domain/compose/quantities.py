"""Quantities as Compose writes them: bytes, processors, durations, and the rules that bound them."""

from __future__ import annotations

import re
from typing import Final

from deployments.domain.compose import nodes
from deployments.domain.compose.findings import echo, replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading, Rule, text, whole_number

KIB: Final = 1024
MIB: Final = 1024 * KIB
TIB: Final = 1024 * 1024 * MIB
NANO: Final = 1_000_000_000

_UNITS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": 1024 * MIB, "t": TIB}
# docker/go-units: binary whatever the spelling, so `1gb` and `1gib` are the same.
_BYTES = re.compile(r"([0-9]{1,16}(?:\.[0-9]{1,9})?) ?(?:([kmgt])(?:i?b)?|(b))?", re.ASCII | re.IGNORECASE)
_CPUS = re.compile(r"([0-9]{1,6})?(?:\.([0-9]{0,9}))?", re.ASCII)
_DURATION = re.compile(r"(?:[0-9]{1,15}(?:\.[0-9]{1,9})?(?:h|ms|m|s|us|µs|ns))+")
_DURATION_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(h|ms|m|s|us|µs|ns)")
_NANOSECONDS = {"h": 3600 * NANO, "m": 60 * NANO, "s": NANO, "ms": 1_000_000, "us": 1000, "µs": 1000, "ns": 1}


def size(minimum: int, maximum: int, wanted: str) -> Rule:
    """An amount of bytes: a bare number, or a number with a unit. Answers bytes."""

    def rule(node: Node, reading: Reading) -> int | None:
        value = whole_number(node)
        if value is None:
            written = node.value if nodes.kind_of(node) == "float" else text(node, reading)
            if written is None:
                return None
            value = size_in_bytes(written)
            if value is None:
                reading.error(
                    node,
                    "compose.size",
                    f"Expected an amount of bytes, found {echo(written)}.",
                    "Write a number with a unit, such as 512M or 1.5G.",
                )
                return None
        if not minimum <= value <= maximum:
            reading.error(node, "compose.range", f"Expected {wanted}, found {echo(node.value)}.", f"Write {wanted}.")
            return None
        return value

    return rule


def size_in_bytes(written: str) -> int | None:
    """`1.5G` as bytes, by the rules of docker/go-units; None if it is no amount."""
    match = _BYTES.fullmatch(written)
    if match is None:
        return None
    number, unit, _ = match.groups()
    return int(float(number) * _UNITS[(unit or "").lower()])


def cpus(node: Node, reading: Reading) -> int | None:
    """A number of processors with up to nine decimals. Answers billionths."""
    kind = nodes.kind_of(node)
    written = node.value if kind in ("integer", "float") else text(node, reading)
    if written is None:
        return None
    match = _CPUS.fullmatch(written)
    if match is None or not any(match.groups()):
        reading.error(
            node,
            "compose.cpus",
            f"Expected a number of processors, found {echo(written)}.",
            "Write a positive number such as 0.5 or 2.",
        )
        return None
    whole, decimals = match.groups()
    value = int(whole or 0) * NANO + int((decimals or "").ljust(9, "0"))
    if not 1_000_000 <= value <= 1024 * NANO:
        reading.error(
            node,
            "compose.range",
            f"Expected 0.001 to 1,024 processors, found {echo(written)}.",
            "Write a positive number such as 0.5 or 2.",
        )
        return None
    return value


def cpus_text(nano_cpus: int) -> str:
    """Billionths of a processor as the shortest decimal."""
    whole, decimals = divmod(nano_cpus, NANO)
    return f"{whole}.{decimals:09d}".rstrip("0").rstrip(".")


def duration(minimum_ms: int, maximum_ms: int, wanted: str) -> Rule:
    """A time with units, as Go writes it. Answers milliseconds."""

    def rule(node: Node, reading: Reading) -> int | None:
        if type(node) is nodes.Scalar and not node.style and nodes.kind_of(node) in ("integer", "float"):
            _without_unit(node, minimum_ms, maximum_ms, reading)
            return None
        written = text(node, reading)
        if written is None:
            return None
        nanoseconds = duration_in_nanoseconds(written)
        if nanoseconds is None:
            _without_unit(node, minimum_ms, maximum_ms, reading)
            return None
        milliseconds, finer = divmod(nanoseconds, 1_000_000)
        if finer or not minimum_ms <= milliseconds <= maximum_ms:
            reading.error(
                node, "compose.range", f"Expected {wanted}, found {echo(written)}.", f"Write {wanted}, such as 10s."
            )
            return None
        return milliseconds

    return rule


def _without_unit(node: Node, minimum_ms: int, maximum_ms: int, reading: Reading) -> None:
    """A bare number is seconds to whoever writes one; the fix says so if that many are accepted."""
    seconds = whole_number(node)
    fits = seconds is not None and minimum_ms <= seconds * 1000 <= maximum_ms
    reading.error(
        node,
        "compose.duration",
        f"Expected a time with its unit, found {echo(node.value)}.",
        "Write the unit too, such as 10s, 1m30s or 500ms.",
        (replace(node, f"{seconds}s"),) if fits else None,
    )


def duration_in_nanoseconds(written: str) -> int | None:
    """`1m30s` as nanoseconds, exactly; None if it is no time."""
    if _DURATION.fullmatch(written) is None:
        return None
    total = 0
    for whole, decimals, unit in _DURATION_PART.findall(written):
        unit_ns = _NANOSECONDS[unit]
        total += int(whole) * unit_ns + int(decimals or 0) * unit_ns // 10 ** len(decimals or "")
    return total

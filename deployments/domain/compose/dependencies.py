"""What ties services together or takes one out: depends_on, restart, replicas, profiles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from deployments.domain.compose import nodes
from deployments.domain.compose.findings import Finding, echo, remove, replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading, Row, accepted, boolean, mapping, one_of, text, whole_number

CONDITIONS: Final = ("service_started", "service_healthy", "service_completed_successfully")
COMPLETED: Final = "service_completed_successfully"
HEALTHY: Final = "service_healthy"
_RESTART = re.compile(r"no|always|unless-stopped|on-failure(?::(?:0|[1-9][0-9]{0,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class DependencyRead:
    """One dependency as written; `node` is the list's item or the mapping's value."""

    node: Node
    name: str
    condition: str
    required: bool
    listed: bool


@dataclass(frozen=True, slots=True)
class Leaving:
    """A key that says that its service does not run; whether the service can be taken out is found out later."""

    finding: Finding


def _no_restart(node: Node, reading: Reading) -> bool | None:
    value = boolean(node, reading)
    if value:
        reading.error(
            node,
            "compose.dependency_restart",
            "A service is not restarted because another one was.",
            "Remove it; let the app reconnect.",
            (remove(node),),
        )
    return value


DEPENDENCY: Final[tuple[Row, ...]] = (
    accepted("condition", one_of(*CONDITIONS), "What the other service has to reach; required.",
             "condition: service_healthy", refused="condition: service_ready", schema={"enum": list(CONDITIONS)},
             required=True),
    accepted("required", boolean, "Whether Compose would insist on it.", "required: true", refused='required: "x"',
             schema={"type": "boolean"}),
    accepted("restart", _no_restart, "Only `false`.", "restart: false", refused="restart: true",
             schema={"const": False}),
)  # fmt: skip
_members = mapping(DEPENDENCY, "a dependency")


def depends_on(node: Node, reading: Reading) -> list[DependencyRead] | None:
    """A list of services that have to be started, or a mapping with conditions."""
    if type(node) is nodes.Sequence:
        return _listed(node, reading)
    if type(node) is not nodes.Mapping:
        reading.mismatch(node, "a list of services, or a mapping with conditions")
        return None
    found = []
    for child in node.value:
        members = _members(child, reading)
        if members is not None:
            condition = members.get("condition", "service_started")
            found.append(DependencyRead(child, child.key.value, condition, members.get("required", True), listed=False))
    return found


def _listed(node: Node, reading: Reading) -> list[DependencyRead]:
    found: dict[str, DependencyRead] = {}
    for item in node.value:
        name = text(item, reading)
        if name is None:
            continue
        if name in found:
            reading.error(
                item, "compose.dependency_twice", f"{echo(name)} is listed twice.", "Remove one.", (remove(item),)
            )
        else:
            found[name] = DependencyRead(item, name, "service_started", required=True, listed=True)
    return list(found.values())


def restart(node: Node, reading: Reading) -> str | None:
    """When the engine starts the service again."""
    if nodes.kind_of(node) == "boolean" and not nodes.BOOLEAN_WORDS[node.value]:
        reading.error(
            node,
            "compose.restart",
            "`restart` is a word, not a boolean.",
            'Write "no", in quotes.',
            (replace(node, "no"),),
        )
        return None
    value = text(node, reading)
    if value is not None and not _RESTART.fullmatch(value):
        reading.error(
            node,
            "compose.restart",
            f"Expected no, always, unless-stopped, on-failure or on-failure:N, found {echo(value)}.",
            "Remove it: services are restarted unless stopped.",
            (remove(node),),
        )
        return None
    return value


def replicas(node: Node, reading: Reading) -> int | Leaving | None:
    """One, and no other number."""
    value = whole_number(node) if nodes.kind_of(node) == "integer" else None
    if value == 0:
        return _leaving(node, "compose.replicas_zero", reading)
    if value is None:
        reading.mismatch(node, "the number 1")
    elif value != 1:
        reading.error(
            node,
            "compose.replicas",
            "A service has one container; nothing here spreads requests or data over several.",
            "Remove it, or write 1.",
            (remove(node),),
        )
    return value


def scale(node: Node, reading: Reading) -> Leaving | None:
    """Refused; zero takes the service out."""
    if nodes.kind_of(node) == "integer" and whole_number(node) == 0:
        return _leaving(node, "compose.scale", reading)
    reading.error(node, "compose.scale", "A service has one container.", "Remove it.", (remove(node),), at_key=True)
    return None


def _leaving(node: Node, code: str, reading: Reading) -> Leaving:
    return Leaving(
        reading.error(
            node,
            code,
            "A service with no container does not run, and does not belong in the file.",
            "Take the service out, with what refers to it.",
            at_key=True,
        )
    )


def profiles(node: Node, reading: Reading) -> Leaving | None:
    """Refused: whatever has profiles does not run by default, so the service goes; without any it always runs."""
    finding = reading.error(
        node,
        "compose.profiles",
        "A service with profiles runs on demand only; here a service runs in every release.",
        "Take the service out, with what refers to it; or take the profiles out if it belongs to every release.",
        at_key=True,
    )
    if type(node) is nodes.Sequence and not node.value:
        finding.fix = (remove(node),)
        return None
    return Leaving(finding)

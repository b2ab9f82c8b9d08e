"""The top level's own keys: services and volumes by name, `x-sam-routes`, host names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deployments.domain.compose import nodes
from deployments.domain.compose.dependencies import Leaving
from deployments.domain.compose.findings import Finding, echo, remove, replace
from deployments.domain.compose.mounts import NAME
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Members, Reading, Row, Rule, key_already_noted, mapping, no_members, text
from deployments.domain.manifest import VolumeSpec

MAX_SERVICES: Final = 20
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII
)


@dataclass(slots=True)
class RouteRead:
    """An entry of `x-sam-routes` as written."""

    node: Node
    members: Members

    @property
    def whole(self) -> bool:
        """True if service, port and mode could be read."""
        return all(name in self.members for name in ("service", "port", "mode"))


def host(node: Node, reading: Reading) -> str | None:
    """A host name, in lower case; no address, no port, no wildcard."""
    value = text(node, reading)
    if value is None:
        return None
    lowered = value.lower()
    if _HOST.fullmatch(lowered) and not lowered.rpartition(".")[2].isdigit():
        return lowered
    bare = lowered.partition("://")[2].partition("/")[0].partition(":")[0]
    reading.error(
        node,
        "compose.route_host",
        f"{echo(value)} is no host name.",
        "Write a name such as app.example.com, without scheme, port, path or wildcard.",
        (replace(node, bare),) if bare and _HOST.fullmatch(bare) and not bare.rpartition(".")[2].isdigit() else None,
    )
    return None


def services_of(rows: Sequence[Row]) -> Rule:
    """One to twenty services by name. Answers Members of Members; a null service is Leaving."""
    service = mapping(rows, "a service")

    def rule(node: Node, reading: Reading) -> Members | None:
        members = _by_name(node, reading, "a service", "services")
        if members is None:
            return None
        for child in node.value:
            if nodes.is_null(child):
                members[child.key.value] = Leaving(_null_service(child, reading))
            else:
                members[child.key.value] = service(child, reading)
        if not node.value:
            reading.error(node, "compose.services", "There is no service.", "Add at least one.", at_key=True)
        elif len(node.value) > MAX_SERVICES:
            reading.error(
                node,
                "compose.services",
                f"There are {len(node.value)} services; at most {MAX_SERVICES} are accepted.",
                "Split the app into several environments.",
                at_key=True,
            )
        return members

    return rule


def _null_service(child: Node, reading: Reading) -> Finding:
    return reading.error(child, "compose.null", "This service says nothing.", "Give it an `image`, or take it out.")


def volumes_of(rows: Sequence[Row]) -> Rule:
    """Volumes by name; a null one has the defaults."""
    volume = mapping(rows, "a volume", nullable=True)

    def rule(node: Node, reading: Reading) -> Members | None:
        if nodes.is_null(node):
            return no_members()
        members = _by_name(node, reading, "a volume", "volumes")
        if members is None:
            return None
        for child in node.value:
            read = volume(child, reading)
            members[child.key.value] = VolumeSpec() if read is None else _spec(read, reading)
        return members

    return rule


def _spec(read: Members, reading: Reading) -> VolumeSpec:
    if "x-sam-size-gb" in read.nodes and "x-sam-size-hint-mb" in read.nodes:
        hint = read.nodes["x-sam-size-hint-mb"]
        reading.error(
            hint,
            "compose.volume_size",
            "The size is given twice.",
            "Keep `x-sam-size-gb`.",
            (remove(hint),),
            at_key=True,
        )
    if "x-sam-size-gb" in read:
        return VolumeSpec(read["x-sam-size-gb"])
    hint_mb = read.get("x-sam-size-hint-mb")
    return VolumeSpec(None if hint_mb is None else -(-hint_mb // 1000))


def _by_name(node: Node, reading: Reading, what: str, key: str) -> Members | None:
    """Check the names of a mapping. Answers Members with the nodes, the values yet to be read."""
    if type(node) is not nodes.Mapping:
        reading.mismatch(node, f"a mapping of names to {key}")
        return None
    members = no_members()
    spellings: dict[str, str] = {}
    for child in node.value:
        name = child.key.value
        members.nodes[name] = child  # the last one where a name stands twice, as for the values
        if not NAME.fullmatch(name) and not key_already_noted(child):
            reading.error(
                child,
                f"compose.{what.split()[1]}_name",
                f"{echo(name)} is no name of {what}.",
                "Use up to 63 letters, digits, dots, dashes and underscores, with a letter or digit at both ends.",
                at_key=True,
            )
        other = spellings.setdefault(name.lower(), name)
        if other != name:
            reading.error(
                child,
                "compose.names_differ_in_case",
                f"{echo(name)} and {echo(other)} differ in case only.",
                "Rename one of them.",
                at_key=True,
            )
    return members


def routes_of(rows: Sequence[Row]) -> Rule:
    """The entries of `x-sam-routes`, in order."""
    route = mapping(rows, "a route")

    def rule(node: Node, reading: Reading) -> list[RouteRead] | None:
        if type(node) is not nodes.Sequence:
            reading.mismatch(node, "a list of routes")
            return None
        read = [(item, route(item, reading)) for item in node.value]
        return [RouteRead(item, members) for item, members in read if members is not None]

    return rule

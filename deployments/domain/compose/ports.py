"""Ports: what `ports` and `expose` say about the routes of a service."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from deployments.domain.compose import nodes
from deployments.domain.compose.findings import Fix, echo, remove, replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import (
    Members,
    Reading,
    Row,
    accepted,
    dropped,
    ignoring,
    mapping,
    one_of,
    text,
)

LOOPBACK: Final = "127.0.0.1"
_ANY_HOST = frozenset(("0.0.0.0", "[::]", "::", "[::0]"))  # noqa: S104 - addresses that we refuse
_PORT = re.compile(r"0*([0-9]+)", re.ASCII)
_RANGE = re.compile(r"[0-9]+-[0-9]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Hint:
    """A container port, and whether the author meant the world to reach it.

    `port` is None where an entry is refused but an author would still mean a route by it (a range).
    """

    node: Node
    port: int | None
    public: bool


def ports(node: Node, reading: Reading) -> list[Hint] | None:
    """The `ports` of a service."""
    return _hints(node, reading, _port, "a list of ports")


def expose(node: Node, reading: Reading) -> list[Hint] | None:
    """The `expose` of a service: private route hints."""
    return _hints(node, reading, _exposed, "a list of ports")


def _hints(node: Node, reading: Reading, read: Any, wanted: str) -> list[Hint] | None:
    if type(node) is not nodes.Sequence:
        reading.mismatch(node, wanted)
        return None
    hints = [read(item, reading) for item in node.value]
    return [hint for hint in hints if hint is not None]


def _port(item: Node, reading: Reading) -> Hint | None:
    if type(item) is nodes.Mapping:
        return _long(item, reading)
    if nodes.kind_of(item) == "integer":
        port = _container_port(item, item.value, reading, lambda cured: int(cured))
        return None if port is None else Hint(item, port, public=True)
    value = text(item, reading)
    return None if value is None else _short(item, value, reading)


def _short(item: Node, value: str, reading: Reading) -> Hint | None:
    published, slash, protocol = value.partition("/")
    if not _protocol(item, published, slash, protocol, reading):
        return None
    address, _, container = published.rpartition(":")
    ip, host = _address(address)
    if _RANGE.fullmatch(container) or "-" in host:
        _range(item, reading)
        return Hint(item, None, public=ip != LOOPBACK)
    prefix = f"{address}:" if address else ""
    port = _container_port(item, container, reading, lambda cured: f"{prefix}{cured}")
    if host and not host.isdigit():
        reading.error(
            item,
            "compose.port",
            f"{echo(value)} is no port.",
            "Write the container's port alone, such as 3000.",
        )
        return None
    public = _published_at(item, ip, host, container, reading)
    if port is None or public is None:
        return None
    if public and host:
        _host_port(item, reading)
    return Hint(item, port, public)


def _address(address: str) -> tuple[str, str]:
    """The IP and the host port of what stands before the container port."""
    if not address:
        return "", ""
    if ":" not in address:
        return "", address
    ip, _, host = address.rpartition(":")
    return ip, host


def _published_at(item: Node, ip: str, host: str, container: str, reading: Reading) -> bool | None:
    """True for the world, False for loopback, None for an address that is refused."""
    if not ip:
        return True
    if ip == LOOPBACK:
        return False
    fix: Fix = None
    bare = str(int(container)) if container.isdigit() and len(container) < 10 else container
    if ip in _ANY_HOST:
        fix = (replace(item, bare),)
    elif ip in ("::1", "[::1]", "localhost"):
        fix = (replace(item, f"{LOOPBACK}:{host}:{bare}"),)
    reading.error(
        item,
        "compose.port_address",
        "A port can be published to everybody or to 127.0.0.1, not to another address.",
        "Remove the address for a public route, or write 127.0.0.1 for a private one.",
        fix,
    )
    return None


def _protocol(item: Node, before: str, slash: str, protocol: str, reading: Reading) -> bool:
    if not slash or protocol.lower() == "tcp":
        return True
    if not protocol:
        reading.error(
            item, "compose.port_protocol", "The protocol after the slash is empty.", "Remove the slash.",
            (replace(item, before),),
        )  # fmt: skip
        return False
    reading.error(
        item,
        "compose.port_protocol",
        f"Routes carry TCP; {echo(protocol)} is not routed.",
        "Remove this port.",
        (remove(item),),
    )
    return False


def _range(item: Node, reading: Reading) -> None:
    reading.error(
        item,
        "compose.port_range",
        "A route has one port; ranges are not accepted.",
        "Write each port as an item of its own.",
    )


def _host_port(item: Node, reading: Reading) -> None:
    reading.warning(
        item,
        "compose.host_port",
        "The host's port is dropped: the node chooses where the route is served.",
        "Write the container's port alone.",
    )


def _container_port(item: Node, written: str, reading: Reading, rewritten: Any) -> int | None:
    if nodes.CANONICAL_INTEGER.fullmatch(written) and len(written) < 6 and 1 <= int(written) <= 65535:
        return int(written)
    cured = _PORT.fullmatch(written)
    fix: Fix = None
    if cured and len(cured.group(1)) < 6 and 1 <= int(cured.group(1)) <= 65535:
        fix = (replace(item, rewritten(str(int(cured.group(1))))),)
    reading.error(
        item,
        "compose.port",
        f"{echo(written)} is no port.",
        "Write a number from 1 to 65535, without leading zeros.",
        fix,
    )
    return None


def _number(node: Node, reading: Reading) -> int | None:
    if nodes.kind_of(node) != "integer" and text(node, reading) is None:
        return None
    return _container_port(node, node.value, reading, int)


def _host_ip(node: Node, reading: Reading) -> str | None:
    value = text(node, reading)
    if value is None or value == LOOPBACK:
        return value
    fix: Fix = (remove(node),) if value in _ANY_HOST else None
    if value in ("::1", "localhost"):
        fix = (replace(node, LOOPBACK),)
    reading.error(
        node,
        "compose.port_address",
        "A port can be published to everybody or to 127.0.0.1, not to another address.",
        "Remove the address for a public route, or write 127.0.0.1 for a private one.",
        fix,
    )
    return None


def _long_protocol(node: Node, reading: Reading) -> str | None:
    value = text(node, reading)
    if value is None or value.lower() == "tcp":
        return value
    reading.error(node, "compose.port_protocol", f"Routes carry TCP; {echo(value)} is not routed.", "Remove this port.")
    return None


LONG_ROWS: tuple[Row, ...] = (
    accepted(
        "target", _number, "The container's port.", "target: 3000", refused="target: 70000",
        schema={"type": ["integer", "string"]}, required=True,
    ),
    dropped(
        "published", ignoring("compose.host_port",
        "The host's port is dropped: the node chooses where the route is served.",
                              "Remove it."),
        "Dropped: the node chooses where a route is served.", 'published: "8080"', code="compose.host_port",
    ),
    accepted("host_ip", _host_ip, "Only 127.0.0.1, which makes the route private.", "host_ip: 127.0.0.1",
             refused="host_ip: 10.0.0.1", schema={"const": LOOPBACK}),
    accepted("protocol", _long_protocol, "Only `tcp`.", "protocol: tcp", refused="protocol: udp",
             schema={"type": "string", "pattern": "^[tT][cC][pP]$"}),
    accepted("mode", one_of("ingress", "host"), "`host` makes the route private.", "mode: ingress",
             refused="mode: global", schema={"enum": ["ingress", "host"]}),
    dropped("name", ignoring("compose.port_name", "The name of a port has no effect and is dropped.", "Remove it."),
            "Dropped: it has no effect.", "name: web", code="compose.port_name"),
    accepted("app_protocol", one_of("http"), "Only `http`, which every route is.", "app_protocol: http",
             refused="app_protocol: grpc", schema={"const": "http"}),
)  # fmt: skip
_long_members = mapping(LONG_ROWS, "a port")


def _long(item: Node, reading: Reading) -> Hint | None:
    members: Members | None = _long_members(item, reading)
    if members is None:
        return None
    private = members.get("host_ip") == LOOPBACK or members.get("mode") == "host"
    return Hint(item, members.get("target"), public=not private)


def _exposed(item: Node, reading: Reading) -> Hint | None:
    written = item.value if nodes.kind_of(item) == "integer" else text(item, reading)
    if written is None:
        return None
    before, slash, protocol = written.partition("/")
    if not _protocol(item, before, slash, protocol, reading):
        return None
    if _RANGE.fullmatch(before):
        _range(item, reading)
        return None
    port = _container_port(item, before, reading, lambda cured: cured)
    return None if port is None else Hint(item, port, public=False)

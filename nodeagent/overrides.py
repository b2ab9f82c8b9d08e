"""The node's own addition to a signed Compose file: a loopback port for each published port, and a small subnet.

A port is chosen once per container, outside the kernel's ephemeral range (or an outgoing connection could take it while
the container restarts), and is the container's for life. Docker's containers are the record of what is taken: each
carries its ports as a label, so one listing tells.
"""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import bundles, routes
from .bundles import Bundle
from .containers import Engine
from .faults import ApplyError

PORTS_LABEL = "sam.ports"
SUBNETS = ipaddress.ip_network("10.213.0.0/16")
SUBNET_PREFIX = 26
"""62 addresses: twenty services twice over during an update, a pre-flight, and the gateway."""
_ROUTES = Path("/proc/net/route")


@dataclass(frozen=True, slots=True)
class Override:
    """What the node adds: the ports of the services about to be created, the network's subnet (None: leave it), and
    host names for those that must not be found yet."""

    ports: Mapping[str, Mapping[int, int]]
    subnet: str | None
    hidden: Mapping[str, str] = field(default_factory=dict)

    def text(self) -> bytes:
        """The file for Compose. `!override` replaces the signed ports, which a plain list would only be added to."""
        services = sorted({*self.ports, *self.hidden})
        lines = ["services:"] if services else ["services: {}"]
        for service in services:
            lines += [f"  {json.dumps(service)}:", *self._hostname(service), *self._ports(service)]
        if self.subnet:
            lines += ["networks:", "  default:", "    ipam:", f'      config: !override [{{subnet: "{self.subnet}"}}]']
        return "\n".join(lines).encode() + b"\n"

    def _hostname(self, service: str) -> list[str]:
        """Since version 25 Docker's name server knows a container by its host name too, whatever its aliases are."""
        return [f"    hostname: {json.dumps(self.hidden[service])}"] if service in self.hidden else []

    def _ports(self, service: str) -> list[str]:
        ports = self.ports.get(service)
        if not ports:
            return []
        published = [
            f'      - {{target: {target}, published: "{port}", host_ip: "127.0.0.1", protocol: tcp}}'
            for target, port in sorted(ports.items())
        ]
        return ["    ports: !override", *published, "    labels:", f"      {PORTS_LABEL}: {json.dumps(_label(ports))}"]


def _label(ports: Mapping[int, int]) -> str:
    return ",".join(f"{target}:{published}" for target, published in sorted(ports.items()))


class Reservations:
    """Gives out ports and subnets to the applies of this node. Raises ApplyError when there are none left."""

    def __init__(self, engine: Engine, ports: range):
        self._engine = engine
        self._ports = ports
        self._next = ports.start
        self._lock = threading.Lock()
        self._promised: dict[str, tuple[set[int], str | None]] = {}

    def override(self, bundle: Bundle, services: Iterable[str], hidden: Mapping[str, str]) -> Override:
        """An override for these services of the bundle; promised to its environment until `release`."""
        with self._lock:
            taken = self._taken_ports() | {port for ports, _ in self._promised.values() for port in ports}
            chosen = {
                name: {target: self._choose(taken) for target in bundle.services[name].ports}
                for name in sorted(services)
                if bundle.services[name].ports
            }
            subnet = self._subnet(bundle)
            mine = {port for ports in chosen.values() for port in ports.values()}
            self._promised[bundle.environment_id] = (mine, subnet)
            return Override(chosen, subnet, hidden)

    def release(self, environment_id: str) -> None:
        """The containers exist (or never will): from here on Docker is the record."""
        with self._lock:
            self._promised.pop(environment_id, None)

    def _choose(self, taken: set[int]) -> int:
        """The next free port of the range, going round: one that was just given back rests for a while."""
        first, last = self._ports.start, self._ports.stop
        port = routes.free_port(taken, range(self._next, last)) or routes.free_port(taken, range(first, self._next))
        if port is None:
            raise ApplyError(
                "node.ports", f"All container ports of this node ({first}-{last - 1}) are taken. Use a larger range."
            )
        taken.add(port)
        self._next = port + 1 if port + 1 < last else first
        return port

    def _taken_ports(self) -> set[int]:
        taken: set[int] = set()
        for row in self._engine.everywhere():
            taken |= {int(p["PublicPort"]) for p in row.get("Ports") or () if p.get("PublicPort")}
            taken |= {
                int(pair.partition(":")[2])
                for pair in (row.get("Labels") or {}).get(PORTS_LABEL, "").split(",")
                if pair.partition(":")[2].isdigit()
            }
        return taken

    def _subnet(self, bundle: Bundle) -> str | None:
        """The subnet that the environment's network has; else what its file asks for, if nothing here overlaps it; else
        a free one of ours. None where the file says it already."""
        known = self._engine.subnets()
        own = known.get(bundles.network(bundle.environment_id))
        if own:
            return own[0] if own[0] != bundle.subnet else None
        promised = [subnet for _, subnet in self._promised.values() if subnet]
        taken = [*promised, *(subnet for subnets in known.values() for subnet in subnets)]
        used = [*(ipaddress.ip_network(t, strict=False) for t in taken), *_routed()]
        if bundle.subnet and not any(ipaddress.ip_network(bundle.subnet).overlaps(u) for u in used if u.version == 4):
            return None
        return free_subnet(used)


def free_subnet(taken: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> str:
    """The first subnet of ours that overlaps nothing. Raises ApplyError."""
    used = [network for network in taken if isinstance(network, ipaddress.IPv4Network)]
    for candidate in SUBNETS.subnets(new_prefix=SUBNET_PREFIX):
        if not any(candidate.overlaps(network) for network in used):
            return str(candidate)
    raise ApplyError("node.subnets", f"All subnets of {SUBNETS} are taken. Retire an environment of this node.")


def _routed() -> list[ipaddress.IPv4Network]:
    """Networks that this machine has routes to, from the kernel's table (little-endian), default left out."""
    found = []
    for line in _ROUTES.read_text().splitlines()[1:]:
        row = line.split()
        address, mask = (int.from_bytes(bytes.fromhex(field), "little") for field in (row[1], row[7]))
        if mask:
            found.append(ipaddress.IPv4Network((address, mask.bit_count())))
    return found

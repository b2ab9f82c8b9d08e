"""What lies in the state directory besides payloads: shapes of the small JSON records, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from .wire.decode import UUID, Base64, Count, Items, OptionalDigest, Ordinal, Text, load, read
from .wire.enrol import Token
from .wire.envelope import MAX_ENVELOPE_BYTES

MAX_RECORD_BYTES = 1024 * 1024
NodeId = Annotated[str, Text(128)]
Hosts = Annotated[tuple[Annotated[str, Text(255)], ...], Items(64)]


@dataclass(frozen=True, slots=True)
class NodeRecord:
    """`identity/node.json`: who this node is, whom it calls, and the only registries its images may come from.

    `control_url` has no slash at its end; `ca` is PEM, or null where the system's certificates will do.
    """

    node_id: NodeId
    node_generation: Ordinal
    control_url: Annotated[str, Text(2048)]
    registry_hosts: Hosts
    ca: Annotated[str, Text(65_536)] | None


@dataclass(frozen=True, slots=True)
class EnvironmentFloor:
    """The highest sequence ever accepted for an environment, and its `release_digest`."""

    max_seen_seq: Count
    max_seen_digest: OptionalDigest


@dataclass(frozen=True, slots=True)
class Floor:
    """`floor.json`: below it nothing is accepted. `server_time` is the highest signed one ever seen (Unix seconds)."""

    environments: Annotated[Mapping[UUID, EnvironmentFloor], Items(10_000)]
    server_time: Count

    def of(self, environment_id: str) -> EnvironmentFloor:
        """The environment's floor; 0 and "" if nothing was ever accepted for it."""
        return self.environments.get(environment_id, EnvironmentFloor(0, ""))


@dataclass(frozen=True, slots=True)
class Enrolment:
    """`enrolment.json`: what the provider (or cloud-init) leaves for an agent that has no identity yet.

    `keyset` is the base64 of the pinned keyset's envelope; `ca` as in NodeRecord. The token is in no repr.
    """

    control_url: Annotated[str, Text(2048, r"https?://[^\s/?#]+(/[^\s?#]*)?")]
    token: Token = field(repr=False)
    keyset: Annotated[str, Base64(max_bytes=MAX_ENVELOPE_BYTES)]
    ca: Annotated[str, Text(65_536)] | None


def placements(raw: bytes) -> dict[str, int]:
    """`identity/placements.json`: environment to the generation in which it was last placed on this node."""
    found: dict[str, int] = read(
        Annotated[Mapping[UUID, Ordinal], Items(10_000)], load(raw, max_bytes=MAX_RECORD_BYTES)
    )
    return found

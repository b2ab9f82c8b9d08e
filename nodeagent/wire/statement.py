"""The release statement: what the control plane signs so that one node applies, stops or retires one environment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from .decode import Count, Digest, OptionalDigest, Ordinal, Text

Action = Literal["apply", "stop", "retire"]
ACTIONS: tuple[Action, ...] = ("apply", "stop", "retire")
MAX_LIFETIME_SECONDS = 3600
MAX_SEQUENCE_JUMP = 10_000


@dataclass(frozen=True, slots=True)
class Statement:
    """The payload of an `application/vnd.sam.release.v1+json` envelope; exactly these members.

    `release_digest` is the digest of the canonical manifest (for stop and retire: of the release that is stopped),
    `previous_release_digest` that of the release live when this was issued, "" if none. `generation` is the number of
    nodes that the environment has had. The four `*_sha256` are the digests of the attachments as shipped; stop and
    retire have the digest of no bytes in each.
    """

    v: Literal[1]
    node_id: Annotated[str, Text(128)]  # compared with what the node knows, so that another one has its own code
    environment_id: Annotated[str, Text(128)]
    generation: Ordinal
    seq: Ordinal
    action: Action
    release_digest: Digest
    previous_release_digest: OptionalDigest
    issued_at: Count
    expires_at: Count
    keyset_version: Ordinal
    compose_sha256: Digest
    routes_sha256: Digest
    volumes_sha256: Digest
    sealed_sha256: Digest

"""What a node fetches: the envelope and its attachments, each byte for byte as it was signed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from . import base64text
from .decode import Base64
from .envelope import MAX_ENVELOPE_BYTES
from .sealed import MAX_SEALED_BYTES

MAX_COMPOSE_BYTES = 1024 * 1024
MAX_ROUTES_BYTES = 256 * 1024
MAX_VOLUMES_BYTES = 256 * 1024
MAX_FETCH_BYTES = 9 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Fetched:
    """The answer of `GET /environments/{id}/releases/{seq}`: five base64 strings."""

    envelope: Annotated[str, Base64(max_bytes=MAX_ENVELOPE_BYTES)]
    compose: Annotated[str, Base64(max_bytes=MAX_COMPOSE_BYTES)]
    routes: Annotated[str, Base64(max_bytes=MAX_ROUTES_BYTES)]
    volumes: Annotated[str, Base64(max_bytes=MAX_VOLUMES_BYTES)]
    sealed: Annotated[str, Base64(max_bytes=MAX_SEALED_BYTES)]


@dataclass(frozen=True, slots=True)
class Payload:
    """The same five parts as bytes, under the names that their files have on a node."""

    envelope: bytes
    compose: bytes
    routes: bytes
    volumes: bytes
    sealed: bytes


def pack(payload: Payload) -> Fetched:
    """The parts as the wire has them."""
    return Fetched(
        envelope=base64text.to_text(payload.envelope),
        compose=base64text.to_text(payload.compose),
        routes=base64text.to_text(payload.routes),
        volumes=base64text.to_text(payload.volumes),
        sealed=base64text.to_text(payload.sealed),
    )


def unpack(fetched: Fetched) -> Payload:
    """The parts as bytes."""
    return Payload(
        envelope=base64text.to_bytes(fetched.envelope),
        compose=base64text.to_bytes(fetched.compose),
        routes=base64text.to_bytes(fetched.routes),
        volumes=base64text.to_bytes(fetched.volumes),
        sealed=base64text.to_bytes(fetched.sealed),
    )

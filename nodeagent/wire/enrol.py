"""Enrolment: a one-time token and a node's own keys become a node's identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Annotated

import nacl.exceptions
import nacl.signing

from . import base64text
from .decode import UUID, Count, Items, Key, Ordinal, Signature, Text
from .errors import RequestError

MAX_ENROL_BYTES = 16_384
Token = Annotated[str, Text(256, r"[A-Za-z0-9_=+/.-]{32,256}")]


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """The body of `POST /enrol`. Same token and keys again: same answer. Same token, other keys: refused."""

    token: Token = field(repr=False)
    ed25519_public: Key
    x25519_public: Key
    boot_id: Annotated[str, Text(64, r"[A-Za-z0-9-]{1,64}")]
    agent_version: Annotated[str, Text(64)]
    proof: Signature


@dataclass(frozen=True, slots=True)
class Placement:
    """An environment on this node, and the number of nodes that it has had."""

    environment_id: UUID
    generation: Ordinal


@dataclass(frozen=True, slots=True)
class EnrolAnswer:
    """Who the node is now. `registry_hosts` are the only registries that its images may come from."""

    node_id: Annotated[str, Text(128, r"[A-Za-z0-9][A-Za-z0-9._-]*")]
    node_generation: Ordinal
    registry_hosts: Annotated[tuple[Annotated[str, Text(255)], ...], Items(64)]
    server_time: Count
    environments: Annotated[tuple[Placement, ...], Items(1000)]


def proof_bytes(token: str, ed25519_public: bytes, x25519_public: bytes) -> bytes:
    """What the node signs to prove that it holds the keys: the token's digest and both public keys."""
    return b"sam-enrol-v1\n" + hashlib.sha256(token.encode()).digest() + ed25519_public + x25519_public


def prove(key: nacl.signing.SigningKey, token: str, x25519_public: bytes) -> str:
    """The proof of possession, base64."""
    message = proof_bytes(token, bytes(key.verify_key), x25519_public)
    return base64text.to_text(key.sign(message).signature)


def verify_proof(request: EnrolRequest) -> None:
    """Raises RequestError `enrol.proof` unless the request's own Ed25519 key signed its token and keys."""
    public = base64text.to_bytes(request.ed25519_public)
    message = proof_bytes(request.token, public, base64text.to_bytes(request.x25519_public))
    try:
        nacl.signing.VerifyKey(public).verify(message, base64text.to_bytes(request.proof))
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise RequestError(
            "enrol.proof", "The proof is not a signature by the key that it comes with", "/proof"
        ) from error

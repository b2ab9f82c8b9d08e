"""Signed requests: each proves its node over method, path, body, time, nonce and node generation."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

import nacl.exceptions
import nacl.signing

from . import base64text
from .errors import RequestError, WireError

HEADER_NODE = "X-Sam-Node"
HEADER_GENERATION = "X-Sam-Generation"
HEADER_TIME = "X-Sam-Time"
HEADER_NONCE = "X-Sam-Nonce"
HEADER_SIGNATURE = "X-Sam-Signature"
MAX_SKEW_SECONDS = 300

_SHAPES: Mapping[str, str] = {
    HEADER_NODE: r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}",
    HEADER_GENERATION: r"[1-9][0-9]{0,8}",
    HEADER_TIME: r"[1-9][0-9]{0,14}",
    HEADER_NONCE: r"[A-Za-z0-9_-]{16,64}",
    HEADER_SIGNATURE: r"[A-Za-z0-9+/]{86}==",
}


@dataclass(frozen=True, slots=True)
class RequestClaim:
    """What a request's headers say of it; true once `verify_request` has returned it."""

    node_id: str
    generation: int
    time: int
    nonce: str
    signature: bytes


def signed_bytes(
    *, node_id: str, generation: int, method: str, path_with_query: str, body: bytes, time: int, nonce: str
) -> bytes:
    """What the node signs: seven lines, the body as the hex of its SHA-256, the path as sent, query included."""
    digest = hashlib.sha256(body).hexdigest()
    lines = ("sam-request-v1", node_id, str(generation), method, path_with_query, digest, f"{time} {nonce}")
    return "\n".join(lines).encode()


def sign_request(
    key: nacl.signing.SigningKey,
    node_id: str,
    generation: int,
    method: str,
    path_with_query: str,
    body: bytes,
    now: int,
    nonce: str,
) -> dict[str, str]:
    """The headers that prove the request; `now` in Unix seconds, `nonce` of 16 to 64 letters never used before."""
    message = signed_bytes(
        node_id=node_id,
        generation=generation,
        method=method,
        path_with_query=path_with_query,
        body=body,
        time=now,
        nonce=nonce,
    )
    return {
        HEADER_NODE: node_id,
        HEADER_GENERATION: str(generation),
        HEADER_TIME: str(now),
        HEADER_NONCE: nonce,
        HEADER_SIGNATURE: base64text.to_text(key.sign(message).signature),
    }


def claim(headers: Mapping[str, str]) -> RequestClaim:
    """Who a request says it is from, to find the key that must have signed it. Names of headers in any case.

    Raises RequestError `request.headers` if one is missing or misshapen.
    """
    found = {name.lower(): value for name, value in headers.items()}
    values = {name: found.get(name.lower(), "") for name in _SHAPES}
    for name, shape in _SHAPES.items():
        if not re.fullmatch(shape, values[name], re.ASCII):
            raise RequestError("request.headers", "The header is missing or misshapen", name)
    try:
        signature = base64text.to_bytes(values[HEADER_SIGNATURE], where=HEADER_SIGNATURE)
    except WireError as error:
        raise RequestError("request.headers", error.why, error.where) from error
    return RequestClaim(
        node_id=values[HEADER_NODE],
        generation=int(values[HEADER_GENERATION]),
        time=int(values[HEADER_TIME]),
        nonce=values[HEADER_NONCE],
        signature=signature,
    )


def verify_request(
    public: bytes,
    *,
    headers: Mapping[str, str],
    method: str,
    path_with_query: str,
    body: bytes,
    now: int,
    max_skew_seconds: int = MAX_SKEW_SECONDS,
) -> RequestClaim:
    """The claim, proven by the 32 bytes of the named node's key.

    Raises RequestError: `request.headers`, `request.signature`, or `request.time` if the clocks are too far apart.
    That the nonce is new, and the generation the node's, is for the caller to check.
    """
    stated = claim(headers)
    message = signed_bytes(
        node_id=stated.node_id,
        generation=stated.generation,
        method=method,
        path_with_query=path_with_query,
        body=body,
        time=stated.time,
        nonce=stated.nonce,
    )
    try:
        nacl.signing.VerifyKey(public).verify(message, stated.signature)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise RequestError("request.signature", "The signature is not the node's over this request") from error
    if abs(now - stated.time) > max_skew_seconds:
        raise RequestError("request.time", f"The node's clock is more than {max_skew_seconds} s off", HEADER_TIME)
    return stated

"""DSSE envelopes: bytes, their type, and the Ed25519 signatures over both.

Form and pre-authentication encoding as in the DSSE specification, protocol version 1.0.0
(github.com/secure-systems-lab/dsse). Narrower than that: exact members, canonical base64, a bounded size, a keyid that
must name the key, and every signature must verify.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import nacl.exceptions
import nacl.signing

from . import base64text
from .decode import KeyId, Signature, Text, decode, encode
from .errors import EnvelopeError, WireError

PAYLOAD_RELEASE = "application/vnd.sam.release.v1+json"
PAYLOAD_KEYSET = "application/vnd.sam.keyset.v1+json"
PAYLOAD_RECEIPT = "application/vnd.sam.receipt.v1+json"
PAYLOAD_HEARTBEAT = "application/vnd.sam.heartbeat-reply.v1+json"
MAX_ENVELOPE_BYTES = 262_144


@dataclass(frozen=True, slots=True)
class EnvelopeSignature:
    """One signature: `sig` is the base64 of 64 bytes over the pre-authentication encoding."""

    keyid: KeyId
    sig: Signature


@dataclass(frozen=True, slots=True)
class Envelope:
    """`{"payloadType", "payload", "signatures": [{"keyid", "sig"}]}`; the payload is base64."""

    payloadType: Annotated[str, Text(128)]  # noqa: N815  DSSE has it so
    payload: Annotated[str, Text(MAX_ENVELOPE_BYTES)]
    signatures: tuple[EnvelopeSignature, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """A payload and the ids of the keys that verified over it."""

    payload: bytes
    signed_by: tuple[str, ...]


def keyid(public: bytes) -> str:
    """The first 16 hex digits of the SHA-256 of the 32 key bytes."""
    return hashlib.sha256(public).hexdigest()[:16]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: what is signed. Lengths are of bytes, in decimal."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, payload: bytes, *keys: nacl.signing.SigningKey) -> bytes:
    """The bytes of an envelope signed by each of the keys, in their order. Raises EnvelopeError `envelope.size`."""
    message = pae(payload_type, payload)
    signatures = tuple(
        EnvelopeSignature(keyid(bytes(key.verify_key)), base64text.to_text(key.sign(message).signature)) for key in keys
    )
    raw = encode(Envelope(payload_type, base64text.to_text(payload), signatures))
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise EnvelopeError("envelope.size", f"The envelope would be larger than {MAX_ENVELOPE_BYTES} bytes")
    return raw


def open_envelope(raw: bytes, *, payload_type: str, keys: Mapping[str, bytes], signatures: int = 1) -> bytes:
    """The payload, if the envelope has exactly `signatures` signatures and each is by one of `keys` (id to 32 bytes).

    Raises EnvelopeError with the code `envelope.size`, `envelope.shape`, `envelope.type`, `envelope.unknown_key` or
    `envelope.signature`.
    """
    envelope = parse_envelope(raw, payload_type=payload_type)
    if len(envelope.signatures) != signatures:
        raise EnvelopeError("envelope.shape", f"There must be exactly {signatures} signature(s)", "/signatures")
    return verify(envelope, keys=keys).payload


def parse_envelope(raw: bytes, *, payload_type: str) -> Envelope:
    """The envelope's members, checked in form and type; nothing in it is trusted yet. Raises EnvelopeError."""
    if len(raw) > MAX_ENVELOPE_BYTES:
        raise EnvelopeError("envelope.size", f"The envelope is larger than {MAX_ENVELOPE_BYTES} bytes")
    try:
        envelope = decode(Envelope, raw)
        base64text.to_bytes(envelope.payload, where="/payload")
    except WireError as error:
        raise EnvelopeError("envelope.shape", error.why, error.where) from error
    if envelope.payloadType != payload_type:
        raise EnvelopeError("envelope.type", f"The payload type is not {payload_type}", "/payloadType")
    return envelope


def verify(envelope: Envelope, *, keys: Mapping[str, bytes]) -> Opened:
    """The payload, if there is a signature and each one is by a different key of `keys`. Raises EnvelopeError."""
    named = [signature.keyid for signature in envelope.signatures]
    if not named or len(set(named)) != len(named):
        raise EnvelopeError("envelope.shape", "There must be one signature for each key that signed", "/signatures")
    payload = base64text.to_bytes(envelope.payload)
    message = pae(envelope.payloadType, payload)
    for index, signature in enumerate(envelope.signatures):
        _check(signature, message, keys, f"/signatures/{index}")
    return Opened(payload, tuple(named))


def _check(signature: EnvelopeSignature, message: bytes, keys: Mapping[str, bytes], where: str) -> None:
    public = keys.get(signature.keyid)
    # A keyset that files a key under another key's id must not lend it that id.
    if public is None or keyid(public) != signature.keyid:
        raise EnvelopeError("envelope.unknown_key", "The signing key is none of those that are trusted here", where)
    try:
        nacl.signing.VerifyKey(public).verify(message, base64text.to_bytes(signature.sig))
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise EnvelopeError(
            "envelope.signature", "The signature is not that of the key over these bytes", where
        ) from error

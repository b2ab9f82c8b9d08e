"""The sealed part: secret values and pull credentials that only one node can open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import nacl.exceptions
import nacl.public

from .decode import UUID, Items, Ordinal, Text, decode, encode
from .errors import SealedError, WireError

MAX_SEALED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RegistryLogin:
    """Pull-only credentials for one registry, `host` being HOST[:PORT] as in image references."""

    host: Annotated[str, Text(255)]
    username: Annotated[str, Text(255)] = field(repr=False)
    password: Annotated[str, Text(16384)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What the sealed part holds; it repeats whom it is for, so that it fits no other statement.

    `values[n]` is the value of `SAM_SECRET_n`. Neither values nor credentials appear in its repr.
    """

    environment_id: UUID
    node_id: Annotated[str, Text(128)]
    seq: Ordinal
    values: Annotated[tuple[Annotated[str, Text(262_144)], ...], Items(5000)] = field(repr=False)
    registries: Annotated[tuple[RegistryLogin, ...], Items(32)] = field(repr=False)


def seal(sealed: Sealed, node_x25519_public: bytes) -> bytes:
    """The raw SealedBox bytes for the node with this X25519 key. Raises SealedError `sealed.size`."""
    ciphertext = nacl.public.SealedBox(nacl.public.PublicKey(node_x25519_public)).encrypt(encode(sealed))
    if len(ciphertext) > MAX_SEALED_BYTES:
        raise SealedError("sealed.size", f"The sealed part would be larger than {MAX_SEALED_BYTES} bytes")
    return bytes(ciphertext)


def unseal(raw: bytes, private: nacl.public.PrivateKey) -> Sealed:
    """What the bytes hold. Raises SealedError `sealed.size`, `sealed.key` (made for another key, or altered) or
    `sealed.shape`, none of which repeats any of the content."""
    if len(raw) > MAX_SEALED_BYTES:
        raise SealedError("sealed.size", f"The sealed part is larger than {MAX_SEALED_BYTES} bytes")
    try:
        plaintext = nacl.public.SealedBox(private).decrypt(raw)
    except (nacl.exceptions.CryptoError, ValueError, TypeError) as error:
        raise SealedError("sealed.key", "The sealed part does not open with this node's key") from error
    try:
        return decode(Sealed, plaintext)
    except WireError as error:
        raise SealedError("sealed.shape", error.why, error.where) from None


def values_of(sealed: Sealed) -> dict[str, str]:
    """The environment that Compose gets: `SAM_SECRET_n` to value, and nothing else."""
    return environment_of(sealed.values)


def environment_of(values: Sequence[str]) -> dict[str, str]:
    """`SAM_SECRET_n` for each value in its order."""
    return {f"SAM_SECRET_{index}": value for index, value in enumerate(values)}

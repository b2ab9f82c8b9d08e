"""Keysets: which keys a node trusts, and how one set replaces another.

Root keys (offline) sign keysets; release keys (online) sign releases and heartbeat replies. Version N+1 is signed by a
root key of N that is not revoked, and by a root key of its own, which may be the same one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from . import base64text
from .decode import Count, Items, Key, KeyId, Ordinal, decode
from .envelope import PAYLOAD_KEYSET, Envelope, keyid, parse_envelope, verify
from .errors import KeysetError, WireError

MAX_KEYS = 64


@dataclass(frozen=True, slots=True)
class Keyset:
    """The payload of an `application/vnd.sam.keyset.v1+json` envelope, and the content of a node's `keyset.json`.

    `keys` are the release keys and `root` the root keys, each id to the base64 of 32 bytes; `revoked` the ids that
    count no longer; `not_before` the time from which this set may be adopted.
    """

    version: Ordinal
    keys: Annotated[Mapping[KeyId, Key], Items(MAX_KEYS)]
    root: Annotated[Mapping[KeyId, Key], Items(MAX_KEYS)]
    revoked: Annotated[tuple[KeyId, ...], Items(MAX_KEYS * 4)]
    not_before: Count

    def release_keys(self) -> dict[str, bytes]:
        """The release keys that are not revoked, id to 32 bytes."""
        return self._standing(self.keys)

    def root_keys(self) -> dict[str, bytes]:
        """The root keys that are not revoked, id to 32 bytes."""
        return self._standing(self.root)

    def _standing(self, ring: Mapping[str, str]) -> dict[str, bytes]:
        return {name: base64text.to_bytes(key) for name, key in ring.items() if name not in self.revoked}


def first(raw: bytes) -> Keyset:
    """The keyset of an envelope that is trusted because of where it lies (pinned in cloud-init): signed by itself.

    Raises KeysetError `keyset.shape` or `keyset.signature`.
    """
    envelope = _parse(raw)
    keyset = _decode(base64text.to_bytes(envelope.payload))
    _require_signatures(envelope, keyset, by=(("itself", keyset),))
    return keyset


def successor(held: Keyset, raw: bytes, *, now: int) -> Keyset:
    """The keyset that replaces `held`.

    Raises KeysetError: `keyset.shape`; `keyset.replayed` for the version that is held or an older one;
    `keyset.skipped` for one that is not the next; `keyset.signature` if a root key of `held` or one of its own is
    missing among the signatures; `keyset.not_yet` before its time.
    """
    envelope = _parse(raw)
    keyset = _decode(base64text.to_bytes(envelope.payload))
    if keyset.version <= held.version:
        raise KeysetError("keyset.replayed", f"Version {keyset.version} is not newer than {held.version}", "/version")
    if keyset.version != held.version + 1:
        raise KeysetError("keyset.skipped", f"Version {keyset.version} does not follow {held.version}", "/version")
    _require_signatures(envelope, keyset, by=(("the keyset before", held), ("itself", keyset)))
    if now < keyset.not_before:
        raise KeysetError("keyset.not_yet", "The keyset's time has not come", "/not_before")
    return keyset


def _parse(raw: bytes) -> Envelope:
    try:
        return parse_envelope(raw, payload_type=PAYLOAD_KEYSET)
    except WireError as error:
        raise KeysetError("keyset.shape", error.why, error.where) from error


def _decode(payload: bytes) -> Keyset:
    try:
        keyset = decode(Keyset, payload)
    except WireError as error:
        raise KeysetError("keyset.shape", error.why, error.where) from error
    for member, ring in (("keys", keyset.keys), ("root", keyset.root)):
        if any(keyid(base64text.to_bytes(key)) != name for name, key in ring.items()):
            raise KeysetError("keyset.shape", "A key is filed under an id that is not its own", f"/{member}")
    return keyset


def _require_signatures(envelope: Envelope, keyset: Keyset, *, by: tuple[tuple[str, Keyset], ...]) -> None:
    """Every signature verifies, and each of the named keysets has a root key among them."""
    trusted = {name: key for _, ring in by for name, key in ring.root_keys().items() if name not in keyset.revoked}
    # A root key that the new set revokes may still sign the handover that revokes it.
    trusted |= by[0][1].root_keys()
    try:
        signed_by = set(verify(envelope, keys=trusted).signed_by)
    except WireError as error:
        raise KeysetError("keyset.signature", error.why, error.where) from error
    for name, ring in by:
        if not signed_by & ring.root_keys().keys():
            raise KeysetError("keyset.signature", f"No root key of {name} signed it", "/signatures")

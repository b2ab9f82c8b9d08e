"""The deploy keys: a root key that is kept offline, a release key that signs what nodes do, the keysets that name them.

The root key signs keysets only. `init` writes it to a file that an operator takes away; the database has its public
half. The release key lies in the database, sealed under the key-encryption key, and is opened for each signature.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from nacl.signing import SigningKey as PrivateKey

from nodeagent.wire import base64text
from nodeagent.wire import keyset as keysets
from nodeagent.wire.decode import encode
from nodeagent.wire.envelope import PAYLOAD_KEYSET, keyid, sign
from nodeagent.wire.errors import WireError
from nodeagent.wire.keyset import Keyset

from .errors import DeploymentError, NotFound
from .models import KeysetVersion, SigningKey
from .services import vault

ROOT_KEY_FILE = "root.key"
ROOT, RELEASE = "root", "release"
# Held by whoever makes or changes keys, so that two `init` at once make one set. The number is arbitrary, and ours.
_KEYS_LOCK = 0x53414D4B


class KeysMissing(DeploymentError):
    """Nothing was ever initialised."""

    code, status, retryable = "keyset.missing", 503, True

    def __str__(self) -> str:
        return "There are no deploy keys, so nothing can be signed for a node. Make them with `manage.py keyset init`."


class RootKeyUnusable(DeploymentError):
    """The file of the root key is there and is not one."""

    code, status = "keyset.root_unusable", 503

    def __init__(self, path: Path, why: str):
        self.path, self.why = path, why

    def __str__(self) -> str:
        return f"{self.path}: {self.why}. Put the root key back, or move the file away to have a new one made."


def init() -> Keyset:
    """Make root key, release key and keyset 1, unless there is a keyset: then answer the newest one and change nothing.

    The root key is on disk before the keyset is committed. Who dies in between finds the file again at the next try.
    Raises RootKeyUnusable, OSError where the file cannot be written.
    """
    with transaction.atomic():
        _lock_keys()
        if KeysetVersion.objects.exists():
            return keyset()
        root, release = root_key(), PrivateKey.generate()
        _store(root, ROOT)
        _store(release, RELEASE)
        first = Keyset(
            version=1,
            keys=_ring(release),
            root=_ring(root),
            revoked=(),
            not_before=int(timezone.now().timestamp()),
        )
        KeysetVersion.objects.create(version=1, envelope=sign(PAYLOAD_KEYSET, encode(first), root))
        return first


def release_key() -> PrivateKey:
    """The key that signs releases and heartbeat replies now. Raises KeysMissing, vault.SealBroken."""
    row = SigningKey.objects.filter(role=RELEASE, active=True, revoked_at__isnull=True).order_by("-created_at").first()
    if row is None or row.sealed_private is None:
        raise KeysMissing
    return PrivateKey(
        vault.open_sealed(bytes(row.sealed_private), context=_context(row.keyid), kek_id=row.kek_id),
    )


def root_key() -> PrivateKey:
    """The root key from its file, made if there is no file. For the machine that the key is offline on, or not yet.

    Raises RootKeyUnusable.
    """
    path = Path(settings.STATE_DIR) / ROOT_KEY_FILE
    try:
        text = path.read_text("ascii").strip()
    except FileNotFoundError:
        return _new_root_key(path)
    except (OSError, UnicodeDecodeError) as fault:
        raise RootKeyUnusable(path, "it cannot be read as text") from fault
    try:
        return PrivateKey(base64text.to_bytes(text))
    except (WireError, ValueError) as fault:
        raise RootKeyUnusable(path, "it holds no base64 of 32 bytes") from fault


def keyset_envelope(version: int | None = None) -> bytes:
    """The signed keyset of that number, or the newest. Raises KeysMissing where there is none at all, else NotFound."""
    rows = KeysetVersion.objects.order_by("-version")
    row = rows.first() if version is None else rows.filter(version=version).first()
    if row is not None:
        return bytes(row.envelope)
    if version is None:
        raise KeysMissing
    raise NotFound("keyset", version)


def keyset() -> Keyset:
    """The newest keyset. Raises KeysMissing."""
    return keysets.first(keyset_envelope())


def newest_version() -> int:
    """The newest keyset's number, 0 if there is none."""
    return KeysetVersion.objects.order_by("-version").values_list("version", flat=True).first() or 0


def history() -> dict[str, bytes]:
    """Every release key that a keyset ever named, id to 32 bytes, revoked ones included: old signatures stay checkable.

    Each keyset is verified as a node would, as the successor of the one before. Raises KeysMissing, KeysetError.
    """
    envelopes = [bytes(raw) for raw in KeysetVersion.objects.order_by("version").values_list("envelope", flat=True)]
    if not envelopes:
        raise KeysMissing
    held = keysets.first(envelopes[0])
    named = dict(held.keys)
    for raw in envelopes[1:]:
        # Long after its time, so that only the chain is judged.
        held = keysets.successor(held, raw, now=2**53 - 1)
        named |= held.keys
    return {name: base64text.to_bytes(key) for name, key in named.items()}


def show() -> dict[str, Any]:
    """What an operator may see: `{version, not_before, revoked, keys: [{keyid, role, public, active, ...}]}`.

    Raises KeysMissing.
    """
    newest = keyset()
    return {
        "version": newest.version,
        "not_before": newest.not_before,
        "revoked": list(newest.revoked),
        "keys": [_shown(row) for row in SigningKey.objects.order_by("role", "created_at")],
    }


def _shown(row: SigningKey) -> Mapping[str, Any]:
    return {
        "keyid": row.keyid,
        "role": row.role,
        "public": base64text.to_text(bytes(row.public)),
        "active": row.active,
        "revoked_at": row.revoked_at.isoformat() if row.revoked_at else None,
        "created_at": row.created_at.isoformat(),
    }


def _store(key: PrivateKey, role: str) -> None:
    public = bytes(key.verify_key)
    name = keyid(public)
    sealed, kek_id = vault.seal(bytes(key), context=_context(name)) if role == RELEASE else (None, "")
    SigningKey.objects.create(keyid=name, role=role, public=public, sealed_private=sealed, kek_id=kek_id)


def _ring(*keys: PrivateKey) -> dict[str, str]:
    publics = [bytes(key.verify_key) for key in keys]
    return {keyid(public): base64text.to_text(public) for public in publics}


def _context(name: str) -> str:
    return f"signing-key:{name}"


def _lock_keys() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_KEYS_LOCK])


def _new_root_key(path: Path) -> PrivateKey:
    """Made under another name and linked into place: a file of that name is always a whole key, and never replaced."""
    key = PrivateKey.generate()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(base64text.to_text(bytes(key)) + "\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(unfinished, path)
        except FileExistsError:
            return root_key()
    finally:
        unfinished.unlink()
    _fsync_directory(path.parent)
    return key


def _fsync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

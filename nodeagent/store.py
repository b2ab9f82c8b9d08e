"""The state directory: every file an agent keeps, and how each is written so that a power cut leaves old or new.

Layout: `identity/`, `keyset.json`, `keysets/{version}.json` (their envelopes, for audit), `floor.json`, `spool/`,
`environments/{id}/releases/{seq}/{envelope.json,compose.yaml,routes.json,volumes.json,sealed.bin,apply.journal}` with
`receipt.json` once the sequence has an outcome, and `environments/{id}/current -> releases/{seq}`.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import stat
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import nacl.public
import nacl.signing

from . import files, records
from .inbox import Knowledge
from .policy import DEFAULT_VOLUME_ROOT
from .records import Enrolment, EnvironmentFloor, Floor, NodeRecord
from .wire import base64text
from .wire.decode import decode, encode
from .wire.envelope import MAX_ENVELOPE_BYTES
from .wire.errors import WireError
from .wire.fetch import MAX_COMPOSE_BYTES, MAX_ROUTES_BYTES, MAX_VOLUMES_BYTES, Payload
from .wire.keyset import Keyset
from .wire.sealed import MAX_SEALED_BYTES

DEFAULT_STATE_DIR = Path("/var/lib/sam")
PAYLOAD_FILES: Mapping[str, tuple[str, int]] = {
    "envelope": ("envelope.json", MAX_ENVELOPE_BYTES),
    "compose": ("compose.yaml", MAX_COMPOSE_BYTES),
    "routes": ("routes.json", MAX_ROUTES_BYTES),
    "volumes": ("volumes.json", MAX_VOLUMES_BYTES),
    "sealed": ("sealed.bin", MAX_SEALED_BYTES),
}
JOURNAL = "apply.journal"
RECEIPT = "receipt.json"
ACKNOWLEDGED = "receipt.acknowledged"
ENROLMENT = "enrolment.json"
_ENVIRONMENT_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEQUENCE = re.compile(r"[1-9][0-9]{0,15}")
_Record = TypeVar("_Record")


class StoreError(Exception):
    """The state directory is not as the agent left it. `code` is stable; the sentence names the file and the cure."""

    retryable = False

    def __init__(self, code: str, path: Path, why: str, cure: str):
        super().__init__(code, path, why, cure)
        self.code = code
        self.path = path
        self.why = why
        self.cure = cure

    def __str__(self) -> str:
        return f"{self.path}: {self.why}. {self.cure} ({self.code})"


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """The file's bytes. Raises StoreError `state.missing`, `state.unreadable` or `state.too_large`."""
    try:
        content = files.head(path, max_bytes + 1)
    except FileNotFoundError as error:
        raise StoreError(
            "state.missing", path, "the file is not there", "Enrol the node, or fetch the release"
        ) from error
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise StoreError("state.unreadable", path, why, "Look at the disk and the permissions") from error
    if len(content) > max_bytes:
        raise StoreError("state.too_large", path, f"it is larger than {max_bytes} bytes", "It is none of the agent's")
    return content


class Journal:
    """What an apply did, one JSON object per line, each on disk before the next step begins."""

    def __init__(self, path: Path):
        self.path = path

    def append(self, entry: Mapping[str, Any]) -> None:
        """Add one entry and fsync it. What a crash left of an unfinished line is cut off first."""
        line = json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        files.cut_torn_line(self.path)
        files.append_line(self.path, line)

    def entries(self) -> list[dict[str, Any]]:
        """All entries that were completely written, oldest first; empty if there is no journal."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        return [json.loads(line) for line in complete.splitlines()]

    def exists(self) -> bool:
        """Whether anything was journaled."""
        return self.path.exists()

    def last_written(self) -> int:
        """When the last entry was written, in Unix seconds. Raises FileNotFoundError."""
        return int(self.path.stat().st_mtime)


class Store:
    """One state directory. Methods may be called from several threads; one process at a time holds it (`lock`)."""

    def __init__(self, root: Path):
        self.root = root
        self._writing = threading.RLock()

    def prepare(self) -> None:
        """Make the directories (0700) and undo what a crash left half renamed. Safe to call at every start."""
        for path in (self.root, self._identity, self.spool, self._environments, self._keysets):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.chmod(stat.S_IRWXU)
        for old in self._environments.glob("*/releases/.*.old"):
            _settle_renamed(old)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory against a second agent. Raises StoreError `state.locked` at once if there is one."""
        path = self.root / "agent.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise StoreError("state.locked", path, "another agent runs here", "Stop it first") from error
        try:
            yield
        finally:
            os.close(descriptor)

    # Identity

    def node(self) -> NodeRecord | None:
        """Who this node is; None before enrolment. Raises StoreError."""
        return self._read_optional(NodeRecord, self._identity / "node.json")

    def write_node(self, node: NodeRecord) -> None:
        """Become this node."""
        files.replace_file(self._identity / "node.json", encode(node))

    def keys(self) -> tuple[nacl.signing.SigningKey, nacl.public.PrivateKey]:
        """The node's signing key and its unsealing key. Raises StoreError if they are not there."""
        return (
            nacl.signing.SigningKey(self._read_key("ed25519.key")),
            nacl.public.PrivateKey(self._read_key("x25519.key")),
        )

    def make_keys(self) -> tuple[nacl.signing.SigningKey, nacl.public.PrivateKey]:
        """The node's keys, made and fsynced now if there are none: a crash after the call must find the same ones."""
        for name, make in (
            ("ed25519.key", nacl.signing.SigningKey.generate),
            ("x25519.key", nacl.public.PrivateKey.generate),
        ):
            path = self._identity / name
            if not path.exists():
                files.replace_file(path, base64text.to_text(bytes(make())).encode() + b"\n")
        return self.keys()

    def placements(self) -> dict[str, int]:
        """Each environment that was ever placed on this node, with its newest generation here. Raises StoreError."""
        path = self._identity / "placements.json"
        if not path.exists():
            return {}
        try:
            return records.placements(read_bounded(path, records.MAX_RECORD_BYTES))
        except WireError as error:
            raise _corrupt(path, error) from error

    def place(self, environment_id: str, generation: int) -> None:
        """Note a placement. Generations only grow: an older one changes nothing."""
        with self._writing:
            known = self.placements()
            if generation > known.get(environment_id, 0):
                files.replace_file(self._identity / "placements.json", encode(known | {environment_id: generation}))

    def enrolment(self) -> Enrolment | None:
        """What the provider left for enrolment, if anything. Raises StoreError."""
        return self._read_optional(Enrolment, self.root / ENROLMENT)

    def write_enrolment(self, raw: bytes) -> None:
        """Leave an enrolment for `enrolment` to find."""
        files.replace_file(self.root / ENROLMENT, raw)

    def forget_enrolment(self) -> None:
        """Remove the one-time token's file, durably."""
        (self.root / ENROLMENT).unlink(missing_ok=True)
        files.sync_directory(self.root)

    # Trust

    def keyset(self) -> Keyset:
        """The newest trusted keyset. Raises StoreError."""
        return self._read(Keyset, self.root / "keyset.json")

    def has_keyset(self) -> bool:
        """Whether any keyset is trusted yet."""
        return (self.root / "keyset.json").exists()

    def adopt_keyset(self, keyset: Keyset, envelope: bytes) -> None:
        """Trust this keyset from now on; its envelope is kept for audit. The caller has verified it."""
        self._keysets.mkdir(mode=0o700, exist_ok=True)
        files.replace_file(self._keysets / f"{keyset.version}.json", envelope)
        files.replace_file(self.root / "keyset.json", encode(keyset))

    def floor(self) -> Floor:
        """The replay floor; empty before the first acceptance. Raises StoreError."""
        return self._read_optional(Floor, self.root / "floor.json") or Floor({}, 0)

    def raise_floor(self, environment_id: str, seq: int, digest: str) -> None:
        """Accept no lower sequence ever again. On disk when this returns; never lowers anything."""
        with self._writing:
            floor = self.floor()
            if seq > floor.of(environment_id).max_seen_seq:
                raised = EnvironmentFloor(seq, digest)
                self._write_floor(Floor({**floor.environments, environment_id: raised}, floor.server_time))

    def see_server_time(self, server_time: int) -> None:
        """Note a signed time of the control plane (Unix seconds), if it is the highest so far."""
        with self._writing:
            floor = self.floor()
            if server_time > floor.server_time:
                self._write_floor(Floor(floor.environments, server_time))

    def _write_floor(self, floor: Floor) -> None:
        files.replace_file(self.root / "floor.json", encode(floor))

    # Environments and their payloads

    @property
    def spool(self) -> Path:
        """Where reports wait for the control plane."""
        return self.root / "spool"

    def environments(self) -> list[str]:
        """The environments that have a directory here, sorted."""
        if not self._environments.is_dir():
            return []
        return sorted(path.name for path in self._environments.iterdir() if _ENVIRONMENT_ID.fullmatch(path.name))

    def release_path(self, environment_id: str, seq: int) -> Path:
        """Where a release's files lie, whether it is there or not. Raises ValueError for what is no environment id."""
        return self._environment(environment_id) / "releases" / str(seq)

    def releases(self, environment_id: str) -> list[int]:
        """The sequences whose files are here, ascending."""
        directory = self._environment(environment_id) / "releases"
        if not directory.is_dir():
            return []
        return sorted(int(path.name) for path in directory.iterdir() if _SEQUENCE.fullmatch(path.name))

    def write_release(self, environment_id: str, seq: int, payload: Payload) -> Path:
        """Keep a verified payload verbatim. One that is there already is replaced as a whole, its journal kept."""
        path = self.release_path(environment_id, seq)
        self._make_private(path.parent)
        new = path.with_name(f".{seq}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        for part, (name, _) in PAYLOAD_FILES.items():
            _write_synced(new / name, getattr(payload, part))
        if path.exists():
            _keep_journal(path, new)
        files.sync_directory(new)
        if path.exists():
            old = path.with_name(f".{seq}.old")
            shutil.rmtree(old, ignore_errors=True)
            path.rename(old)
        new.rename(path)
        files.sync_directory(path.parent)
        files.sync_directory(path.parent.parent)
        files.sync_directory(self._environments)
        shutil.rmtree(path.with_name(f".{seq}.old"), ignore_errors=True)
        return path

    def release(self, environment_id: str, seq: int) -> Payload:
        """A kept payload's bytes. Raises StoreError."""
        return read_payload(self.release_path(environment_id, seq))

    def current(self, environment_id: str) -> int | None:
        """The sequence that `current` points to; None if there is none. Raises StoreError `state.current`."""
        link = self._environment(environment_id) / "current"
        try:
            target = str(link.readlink())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError("state.current", link, "it is not a symbolic link", "Find out who replaced it") from error
        directory, _, name = target.rpartition("/")
        if directory != "releases" or not _SEQUENCE.fullmatch(name):
            raise StoreError("state.current", link, "it does not point to a release", "Find out who changed it")
        return int(name)

    def set_current(self, environment_id: str, seq: int) -> None:
        """Point `current` to a release, atomically and durably. Raises StoreError if the release is not here."""
        if not self.release_path(environment_id, seq).is_dir():
            path = self.release_path(environment_id, seq)
            raise StoreError("state.missing", path, "the release is not there", "Fetch it first")
        directory = self._environment(environment_id)
        temporary = directory / f".current.{secrets.token_hex(6)}.tmp"
        temporary.symlink_to(Path("releases") / str(seq))
        temporary.rename(directory / "current")
        files.sync_directory(directory)

    def clear_current(self, environment_id: str) -> None:
        """After stop and retire there is no `current`."""
        directory = self._environment(environment_id)
        (directory / "current").unlink(missing_ok=True)
        if directory.is_dir():
            files.sync_directory(directory)

    def journal(self, environment_id: str, seq: int) -> Journal:
        """The journal of one sequence's apply."""
        return Journal(self.release_path(environment_id, seq) / JOURNAL)

    def receipt(self, environment_id: str, seq: int) -> bytes | None:
        """The signed receipt's envelope: the recorded outcome of a sequence. None while there is none."""
        path = self.release_path(environment_id, seq) / RECEIPT
        return read_bounded(path, MAX_ENVELOPE_BYTES) if path.exists() else None

    def record_receipt(self, environment_id: str, seq: int, envelope: bytes) -> None:
        """Record how a sequence ended. Afterwards it is answered from this record and never applied again."""
        path = self.release_path(environment_id, seq)
        self._make_private(path)
        files.replace_file(path / RECEIPT, envelope)

    def acknowledge_receipt(self, environment_id: str, seq: int) -> None:
        """Note that the control plane has the receipt."""
        (self.release_path(environment_id, seq) / ACKNOWLEDGED).touch(mode=0o600)

    def undelivered_receipts(self, environment_id: str) -> list[int]:
        """The sequences whose recorded outcome the control plane has not acknowledged, ascending."""
        return [
            seq
            for seq in self.releases(environment_id)
            if self.receipt(environment_id, seq) is not None
            and not (self.release_path(environment_id, seq) / ACKNOWLEDGED).exists()
        ]

    def unfinished(self, environment_id: str) -> list[int]:
        """The sequences with a journal and no recorded outcome, ascending."""
        return [
            seq
            for seq in self.releases(environment_id)
            if self.journal(environment_id, seq).exists() and self.receipt(environment_id, seq) is None
        ]

    def prune(self, environment_id: str, *, keep: int = 10) -> None:
        """Remove the oldest releases' files, but never those of `current`, of an unfinished apply, or of the floor."""
        protected = {self.current(environment_id), self.floor().of(environment_id).max_seen_seq}
        protected |= set(self.unfinished(environment_id))
        for seq in self.releases(environment_id)[:-keep]:
            if seq not in protected:
                shutil.rmtree(self.release_path(environment_id, seq), ignore_errors=True)

    def knowledge(self, environment_id: str, *, volume_root: str = DEFAULT_VOLUME_ROOT) -> Knowledge:
        """What this directory says about an environment, to judge payloads by. Raises StoreError."""
        node = self.node()
        if node is None:
            path = self._identity / "node.json"
            raise StoreError("state.missing", path, "this node has no identity", "Enrol it")
        floor = self.floor()
        return Knowledge(
            node_id=node.node_id,
            environment_id=environment_id,
            generation=self.placements().get(environment_id),
            keyset=self.keyset(),
            registry_hosts=frozenset(node.registry_hosts),
            floor=floor.of(environment_id),
            server_time=floor.server_time,
            volume_root=volume_root,
        )

    # Inside

    @property
    def _identity(self) -> Path:
        return self.root / "identity"

    @property
    def _keysets(self) -> Path:
        return self.root / "keysets"

    @property
    def _environments(self) -> Path:
        return self.root / "environments"

    def _environment(self, environment_id: str) -> Path:
        if not _ENVIRONMENT_ID.fullmatch(environment_id):
            raise ValueError("An environment's id is a UUID in lower case")
        return self._environments / environment_id

    def _make_private(self, path: Path) -> None:
        """The directory and all above it within the state directory, each 0700 (`parents=True` leaves them open)."""
        for directory in [*reversed(path.relative_to(self.root).parents), path.relative_to(self.root)]:
            (self.root / directory).mkdir(mode=0o700, exist_ok=True)

    def _read(self, cls: type[_Record], path: Path) -> _Record:
        try:
            return decode(cls, read_bounded(path, records.MAX_RECORD_BYTES))
        except WireError as error:
            raise _corrupt(path, error) from error

    def _read_optional(self, cls: type[_Record], path: Path) -> _Record | None:
        return self._read(cls, path) if path.exists() else None

    def _read_key(self, name: str) -> bytes:
        path = self._identity / name
        try:
            key = base64text.to_bytes(read_bounded(path, 256).decode("ascii").strip())
        except (WireError, UnicodeDecodeError):
            key = b""
        if len(key) != 32:
            raise StoreError("state.corrupt", path, "it is not a key", "Replace the node: its identity is lost")
        return key


def read_payload(directory: Path) -> Payload:
    """The five parts that lie in a release's directory. Raises StoreError."""
    return Payload(**{part: read_bounded(directory / name, limit) for part, (name, limit) in PAYLOAD_FILES.items()})


def _corrupt(path: Path, error: WireError) -> StoreError:
    return StoreError("state.corrupt", path, str(error), "Restore it, or replace the node")


def _write_synced(path: Path, content: bytes) -> None:
    """A new file in a directory that nobody looks into yet: its names are made durable once, for all files."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _keep_journal(old: Path, new: Path) -> None:
    for name in (JOURNAL, RECEIPT, ACKNOWLEDGED):
        if (old / name).exists():
            _write_synced(new / name, (old / name).read_bytes())


def _settle_renamed(old: Path) -> None:
    """A crash between the two renames of `write_release`: the old directory goes back, or was replaced and goes."""
    path = old.with_name(old.name.removeprefix(".").removesuffix(".old"))
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.rename(path)
    files.sync_directory(old.parent)

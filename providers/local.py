"""This machine as a provider: one node that serves every environment, volumes that are directories with real rules.

Nothing is bought here, so nothing takes time; but sizes, locations and attachments are refused as a cloud refuses them,
so that their errors can be met on a laptop. A volume's size is recorded and not enforced.

Options: `node_dir` (where the node's agent waits for `enrolment.json`), `volumes_dir` (the volumes, and this
provider's own record in `server.json`), `poll_seconds`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from providers import directories, idempotent, rules
from providers.errors import InvalidRequest, NameTaken, NotFound, PreconditionFailed
from providers.options import read as read_options
from providers.options import required as required_credentials
from providers.ports import (
    GB,
    Capabilities,
    Catalogue,
    Finding,
    Location,
    Operation,
    Outcome,
    ResourceKey,
    Server,
    ServerSpec,
    ServerState,
    Size,
    Verdict,
    Volume,
    VolumeConstraints,
    VolumeSpec,
    VolumeState,
)

LOCATION = "local"
SIZE = "machine"
MARKER = "sam-volume.json"
"""In every volume's directory: without it, or with another id in it, the directory is not the volume."""
ENROLMENT = "enrolment.json"

_VOLUMES = VolumeConstraints(min_gb=1, max_gb=10_000, max_attached_per_server=64)


@dataclass(frozen=True, slots=True)
class _Machine:
    """The record in `server.json`."""

    id: str
    installation: str
    environment_id: str
    name: str
    enrolment_sha256: str
    created_at: str

    def server(self, attached: tuple[str, ...]) -> Server:
        key = ResourceKey(self.installation, self.environment_id, self.name)
        return Server(
            id=self.id, key=key, name=key.cloud_name(), location=LOCATION, size=SIZE, state=ServerState.RUNNING,
            ipv4="127.0.0.1", attached_volume_ids=attached, created_at=datetime.fromisoformat(self.created_at),
            raw_state="running",
        )  # fmt: skip


class LocalProvider:
    """Every method holds a file lock, so that web and workers see one order of events."""

    def __init__(self, options: Mapping[str, Any], credentials: Mapping[str, str] | None = None) -> None:
        missing = [name for name in ("node_dir", "volumes_dir") if not options.get(name)]
        if missing:
            raise InvalidRequest(
                "The local provider lacks options: " + ", ".join(missing), fields=dict.fromkeys(missing, "not given")
            )
        read_options(options, api_url="", image="", poll_seconds=1, more=("node_dir", "volumes_dir"))
        required_credentials(credentials or {})
        self._node_dir = Path(options["node_dir"])
        self._root = Path(options["volumes_dir"])

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            locations=(Location(LOCATION, "this machine"),), sizes=(_this_machine(),), volumes=_VOLUMES,
            user_data_max_bytes=32 * 1024, unique_names=True, device_path_known_before_attach=False,
            serves_many_environments=True,
        )  # fmt: skip

    # Servers

    def create_server(self, spec: ServerSpec) -> Outcome[Server]:
        """The one server, for every key of the installation. The user data is the enrolment document (JSON).

        It is handed to the agent when the server is made, and again when its own key brings another document (a renewed
        token); other keys' documents are not needed, since their node is enrolled already.
        """
        rules.check_server(spec, self.capabilities)
        if spec.size != SIZE:
            raise InvalidRequest(f"This machine has one size, {SIZE!r}", fields={"size": f"{spec.size!r} is unknown"})
        with directories.locked(self._root):
            machine = self._machine()
            if machine is None:
                machine = self._new_machine(spec)
            elif machine.installation != spec.key.installation:
                raise NameTaken("This machine is the node of another installation", resource_id=machine.id)
            elif self._is_renewal(machine, spec):
                self._keep(machine, spec)
            return Outcome(machine.server(self._attached()))

    def _is_renewal(self, machine: _Machine, spec: ServerSpec) -> bool:
        same_key = (machine.environment_id, machine.name) == (spec.key.environment_id, spec.key.name)
        return same_key and machine.enrolment_sha256 != _sha256(spec.user_data)

    def _new_machine(self, spec: ServerSpec) -> _Machine:
        machine = _Machine(
            id=f"local-{uuid.uuid4().hex[:8]}", installation=spec.key.installation,
            environment_id=spec.key.environment_id, name=spec.key.name, enrolment_sha256="",
            created_at=datetime.now(UTC).isoformat(),
        )  # fmt: skip
        return self._keep(machine, spec)

    def _keep(self, machine: _Machine, spec: ServerSpec) -> _Machine:
        """Hand over first, record second: who dies between them hands over again, which changes nothing."""
        directories.write_atomically(self._node_dir / ENROLMENT, spec.user_data, directory_mode=0o700)
        record = {name: getattr(machine, name) for name in _Machine.__slots__}
        record["enrolment_sha256"] = _sha256(spec.user_data)
        directories.write_atomically(self._record_path, json.dumps(record))
        return _Machine(**record)

    def get_server(self, server_id: str) -> Server:
        with directories.locked(self._root):
            return self._server(server_id)

    def list_servers(self, *, installation: str, environment_id: str | None = None) -> list[Server]:
        with directories.locked(self._root):
            machine = self._machine()
            if machine is None or machine.installation != installation:
                return []
            return [machine.server(self._attached())]

    def delete_server(self, server_id: str, *, owned_volume_ids: tuple[str, ...] = ()) -> Operation | None:
        """The machine stays, of course: it stops being a node, its volumes are detached, an unused token withdrawn."""
        with directories.locked(self._root):
            machine = self._machine()
            if machine is None or machine.id != server_id:
                return None
            (self._node_dir / ENROLMENT).unlink(missing_ok=True)
            for volume in self._volumes():
                if volume["server_id"] == server_id:
                    self._write_marker(volume | {"server_id": None})
            self._record_path.unlink()
            return None

    # Volumes

    def create_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        rules.check_volume(spec, self.capabilities)
        with directories.locked(self._root):
            found = [self._volume(marker) for marker in self._volumes() if spec.key.is_on(_key(marker).labels())]
            return idempotent.create_once(
                found=found, differences=lambda volume: "", create=lambda: self._new_volume(spec), resume=Outcome
            )

    def _new_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        marker: dict[str, Any] = {
            "v": 1, "id": f"vol-{uuid.uuid4().hex[:12]}", "installation": spec.key.installation,
            "environment_id": spec.key.environment_id, "name": spec.key.name, "size_gb": spec.size_gb,
            "server_id": None, "created_at": datetime.now(UTC).isoformat(),
        }  # fmt: skip
        unfinished = self._root / f".{marker['id']}"
        unfinished.mkdir(mode=0o755)
        directories.write_atomically(unfinished / MARKER, json.dumps(marker))
        unfinished.rename(self._root / marker["id"])
        directories.fsync(self._root)
        return Outcome(self._volume(marker))

    def get_volume(self, volume_id: str) -> Volume:
        with directories.locked(self._root):
            return self._volume(self._marker(volume_id))

    def list_volumes(self, *, installation: str, environment_id: str | None = None) -> list[Volume]:
        with directories.locked(self._root):
            return [
                self._volume(marker)
                for marker in self._volumes()
                if marker["installation"] == installation and environment_id in (None, marker["environment_id"])
            ]

    def attach_volume(self, volume_id: str, server_id: str) -> Outcome[Volume]:
        with directories.locked(self._root):
            marker = self._marker(volume_id)
            server = self._server(server_id)
            if marker["server_id"] != server_id:
                rules.check_attachment(self._volume(marker), server, self.capabilities)
                marker = self._write_marker(marker | {"server_id": server_id})
            return Outcome(self._volume(marker))

    def detach_volume(self, volume_id: str) -> Outcome[Volume]:
        with directories.locked(self._root):
            marker = self._marker(volume_id)
            if marker["server_id"] is not None:
                marker = self._write_marker(marker | {"server_id": None})
            return Outcome(self._volume(marker))

    def resize_volume(self, volume_id: str, size_gb: int) -> Outcome[Volume]:
        with directories.locked(self._root):
            marker = self._marker(volume_id)
            if rules.needs_growth(self._volume(marker), size_gb, self.capabilities):
                marker = self._write_marker(marker | {"size_gb": size_gb})
            return Outcome(self._volume(marker))

    def delete_volume(self, volume_id: str) -> Operation | None:
        with directories.locked(self._root):
            try:
                marker = self._marker(volume_id)
            except NotFound:
                return None
            if marker["server_id"] is not None:
                raise PreconditionFailed(f"Volume {volume_id} is attached", in_use_by=marker["server_id"])
            doomed = self._root / f".{volume_id}.deleted"
            (self._root / volume_id).rename(doomed)
        directories.remove_tree(doomed)
        return None

    def poll(self, op: Operation) -> Operation | None:
        """Nothing takes time here."""
        return None

    # Account

    def catalogue(self) -> Catalogue:
        capabilities = self.capabilities
        return Catalogue(capabilities.locations, capabilities.sizes, as_of=datetime.now(UTC))

    def check(self) -> tuple[Finding, ...]:
        return (
            Finding("credentials", Verdict.OK, "none are needed"),
            _writable("agent state directory", self._node_dir),
            _writable("volumes", self._root),
        )

    # The record on disk

    @property
    def _record_path(self) -> Path:
        return self._root / "server.json"

    def _machine(self) -> _Machine | None:
        try:
            return _Machine(**json.loads(self._record_path.read_text()))
        except FileNotFoundError:
            return None

    def _server(self, server_id: str) -> Server:
        machine = self._machine()
        if machine is None or machine.id != server_id:
            raise NotFound(f"Server {server_id} does not exist", resource_id=server_id)
        return machine.server(self._attached())

    def _attached(self) -> tuple[str, ...]:
        return tuple(marker["id"] for marker in self._volumes() if marker["server_id"] is not None)

    def _volumes(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted(self._root.glob(f"vol-*/{MARKER}"))]

    def _marker(self, volume_id: str) -> dict[str, Any]:
        for marker in self._volumes():
            if marker["id"] == volume_id:
                return marker
        raise NotFound(f"Volume {volume_id} does not exist", resource_id=volume_id)

    def _write_marker(self, marker: dict[str, Any]) -> dict[str, Any]:
        directories.write_atomically(self._root / marker["id"] / MARKER, json.dumps(marker))
        return marker

    def _volume(self, marker: Mapping[str, Any]) -> Volume:
        attached = marker["server_id"] is not None
        return Volume(
            id=marker["id"], key=_key(marker), name=_key(marker).cloud_name(), location=LOCATION,
            size_gb=marker["size_gb"], state=VolumeState.ATTACHED if attached else VolumeState.AVAILABLE,
            server_id=marker["server_id"], directory=str((self._root / marker["id"]).resolve()),
            created_at=datetime.fromisoformat(marker["created_at"]), raw_state="attached" if attached else "available",
        )  # fmt: skip


def _key(marker: Mapping[str, Any]) -> ResourceKey:
    return ResourceKey(marker["installation"], marker["environment_id"], marker["name"])


def _this_machine() -> Size:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    disk = shutil.disk_usage("/").total
    return Size(SIZE, os.cpu_count() or 1, memory // 10**6, disk // GB, os.uname().machine)


def _writable(subject: str, directory: Path) -> Finding:
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    if os.access(existing, os.W_OK):
        free = shutil.disk_usage(existing).free // GB
        return Finding(subject, Verdict.OK, f"{directory} is writable, {free} GB free")
    return Finding(subject, Verdict.FAILED, f"{existing} is not writable", f"Let this user write to {existing}.")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

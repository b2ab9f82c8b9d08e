"""Virtual machines of this machine as a provider, for demonstrations and tests: real disks, boots and power cuts.

A server is a QEMU process with an overlay on a base image and a NoCloud seed that holds its user data; a volume is a
raw file that is plugged into it while it runs. Each has a record beside its disk, which is the truth; whether a server
runs is asked of its process. It reaches what this machine reaches, and is reached through ports of the loopback.

Options: `directory` (servers and volumes), `image` (a directory with `disk.raw`, `vmlinuz` and `initrd` as
`scripts.vm.images` builds it, or one bootable `.qcow2` or `.raw` file), `poll_seconds`.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from providers import directories, idempotent, operations, rules
from providers.errors import InvalidRequest, NotFound, OperationFailed, PreconditionFailed
from providers.options import read as read_options
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
from providers.qemu_machines import MAC_ADDRESS, PROGRAM, Disk, Machine

LOCATION = "here"
SIZES = (
    Size("small", cores=1, memory_mb=512, disk_gb=4),
    Size("medium", cores=2, memory_mb=1024, disk_gb=4),
    Size("large", cores=2, memory_mb=2048, disk_gb=4),
)
PORTS = range(20_000, 21_000)
"""Where routes of all servers are, on both sides. Below what the agent gives to containers."""
PORTS_PER_SERVER = 8
RECORD = "record.json"
COMMAND_SECONDS = 30

_VOLUMES = VolumeConstraints(min_gb=1, max_gb=1_000, max_attached_per_server=15)
Record = dict[str, Any]


class QemuProvider:
    """Every method holds a file lock, so that web and workers see one order of events."""

    def __init__(self, options: Mapping[str, Any], credentials: Mapping[str, str] | None = None) -> None:
        if not options.get("directory"):
            raise InvalidRequest("The qemu provider lacks an option: directory", fields={"directory": "not given"})
        read = read_options(options, api_url="", image="", poll_seconds=1, more=("directory",))
        self._root = Path(options["directory"]).absolute()
        self._image = read.image
        self._poll_seconds = read.poll_seconds

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            locations=(Location(LOCATION, "this machine"),), sizes=SIZES, volumes=_VOLUMES,
            user_data_max_bytes=32 * 1024, unique_names=True, device_path_known_before_attach=True,
            default_image=self._image,
        )  # fmt: skip

    # Servers

    def create_server(self, spec: ServerSpec) -> Outcome[Server]:
        rules.check_server(spec, self.capabilities)
        size = _size(spec.size)
        with directories.locked(self._root):
            found = [self._server(record) for record in self._records("servers") if spec.key.is_on(_labels(record))]
            return idempotent.create_once(
                found=found,
                differences=lambda server: "" if server.size == spec.size else f"its size is {server.size}",
                create=lambda: self._new_server(spec, size),
                resume=lambda server: self._power_on(self._record("servers", server.id)),
            )

    def _new_server(self, spec: ServerSpec, size: Size) -> Outcome[Server]:
        """Made beside, with all that it boots from, and renamed: a crash leaves nothing that looks like a server."""
        record = _record_of(spec.key, f"vm-{uuid.uuid4().hex[:12]}") | {
            "size": size.name,
            "image": spec.image or self._image,
            "ports": self._free_ports(),
        }
        place = self._root / "servers" / record["id"]
        unfinished = place.with_name(f".{record['id']}")
        unfinished.mkdir(mode=0o700, parents=True)
        _make_overlay(_base(record["image"]), unfinished / "disk.qcow2")
        _make_seed(unfinished, record, spec.user_data)
        directories.write_atomically(unfinished / RECORD, json.dumps(record))
        unfinished.rename(place)
        directories.fsync(place.parent)
        return self._power_on(record)

    def _free_ports(self) -> list[int]:
        """The next run of ports that no server has and nobody listens at."""
        taken = {port for record in self._records("servers") for port in record["ports"]}
        for first in range(PORTS.start, PORTS.stop, PORTS_PER_SERVER):
            block = list(range(first, first + PORTS_PER_SERVER))
            if not taken & set(block) and all(_is_free(port) for port in block):
                return block
        raise PreconditionFailed(f"No {PORTS_PER_SERVER} ports are free between {PORTS.start} and {PORTS.stop}")

    def _power_on(self, record: Record) -> Outcome[Server]:
        machine = self._machine(record)
        if not machine.is_running():
            machine.start([self._disk(volume) for volume in self._attached(record["id"])])
        return Outcome(self._server(record))

    def power_on(self, server_id: str) -> Server:
        """Switch a server on again whose power was cut. Not part of the interface: clouds do it by themselves."""
        with directories.locked(self._root):
            return self._power_on(self._record("servers", server_id)).value

    def machine(self, server_id: str) -> Machine:
        """The process behind a server, to cut its power. Raises NotFound."""
        with directories.locked(self._root):
            return self._machine(self._record("servers", server_id))

    def get_server(self, server_id: str) -> Server:
        with directories.locked(self._root):
            return self._server(self._record("servers", server_id))

    def list_servers(self, *, installation: str, environment_id: str | None = None) -> list[Server]:
        with directories.locked(self._root):
            return [self._server(record) for record in self._listed("servers", installation, environment_id)]

    def delete_server(self, server_id: str, *, owned_volume_ids: tuple[str, ...] = ()) -> Operation | None:
        with directories.locked(self._root):
            try:
                record = self._record("servers", server_id)
            except NotFound:
                return None
            self._machine(record).kill()
            for volume in self._attached(server_id):
                self._write("volumes", volume | {"server_id": None})
            doomed = self._root / "servers" / f".{server_id}.deleted"
            (self._root / "servers" / server_id).rename(doomed)
        directories.remove_tree(doomed)
        return None

    # Volumes

    def create_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        rules.check_volume(spec, self.capabilities)
        with directories.locked(self._root):
            found = [_volume(record) for record in self._records("volumes") if spec.key.is_on(_labels(record))]
            return idempotent.create_once(
                found=found, differences=lambda volume: "", create=lambda: self._new_volume(spec), resume=Outcome
            )

    def _new_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        # Its id is its serial number, of which a guest sees 36 characters at most.
        record = _record_of(spec.key, f"vol-{uuid.uuid4().hex[:12]}") | {"size_gb": spec.size_gb, "server_id": None}
        place = self._root / "volumes" / record["id"]
        unfinished = place.with_name(f".{record['id']}")
        unfinished.mkdir(mode=0o700, parents=True)
        _set_size(unfinished / "disk.raw", spec.size_gb)
        directories.write_atomically(unfinished / RECORD, json.dumps(record))
        unfinished.rename(place)
        directories.fsync(place.parent)
        return Outcome(_volume(record))

    def get_volume(self, volume_id: str) -> Volume:
        with directories.locked(self._root):
            return _volume(self._record("volumes", volume_id))

    def list_volumes(self, *, installation: str, environment_id: str | None = None) -> list[Volume]:
        with directories.locked(self._root):
            return [_volume(record) for record in self._listed("volumes", installation, environment_id)]

    def attach_volume(self, volume_id: str, server_id: str) -> Outcome[Volume]:
        """The record first: a machine that starts after a crash between the two gets the disk at its start."""
        with directories.locked(self._root):
            record = self._record("volumes", volume_id)
            server = self._record("servers", server_id)
            rules.check_attachment(_volume(record), self._server(server), self.capabilities)
            if record["server_id"] is None:
                record = self._write("volumes", record | {"server_id": server_id, "detaching": False})
            if self._machine(server).is_running():
                self._machine(server).plug(self._disk(record))
            return Outcome(_volume(record))

    def detach_volume(self, volume_id: str) -> Outcome[Volume]:
        with directories.locked(self._root):
            record = self._record("volumes", volume_id)
            if record["server_id"] is not None:
                record = self._write("volumes", record | {"detaching": True})
                record = self._unplugged(record)
            return Outcome(_volume(record), self._detaching(record))

    def _unplugged(self, record: Record) -> Record:
        """The record as it is now: the server lets go of the disk at once, or later."""
        machine = self._machine(self._record("servers", record["server_id"]))
        if machine.is_running() and not machine.unplug(self._disk(record)):
            return record
        return self._write("volumes", record | {"server_id": None, "detaching": False})

    def _detaching(self, record: Record) -> Operation | None:
        if not record.get("detaching"):
            return None
        state = {"what": f"detaching {record['id']}", "volume": record["id"]}
        return operations.operation(state, poll_seconds=self._poll_seconds, now=datetime.now(UTC).timestamp())

    def resize_volume(self, volume_id: str, size_gb: int) -> Outcome[Volume]:
        with directories.locked(self._root):
            record = self._record("volumes", volume_id)
            if rules.needs_growth(_volume(record), size_gb, self.capabilities):
                self._grow(record, size_gb)
                record = self._write("volumes", record | {"size_gb": size_gb})
            return Outcome(_volume(record))

    def _grow(self, record: Record, size_gb: int) -> None:
        server_id = record["server_id"]
        machine = self._machine(self._record("servers", server_id)) if server_id else None
        if machine is not None and machine.is_running():
            machine.grow(self._disk(record), size_gb * GB)
        else:
            _set_size(self._disk(record).path, size_gb)

    def delete_volume(self, volume_id: str) -> Operation | None:
        with directories.locked(self._root):
            try:
                record = self._record("volumes", volume_id)
            except NotFound:
                return None
            if record["server_id"] is not None:
                raise PreconditionFailed(f"Volume {volume_id} is attached", in_use_by=record["server_id"])
            doomed = self._root / "volumes" / f".{volume_id}.deleted"
            (self._root / "volumes" / volume_id).rename(doomed)
        directories.remove_tree(doomed)
        return None

    def poll(self, op: Operation) -> Operation | None:
        volume_id = operations.state_of(op)["volume"]
        with directories.locked(self._root):
            try:
                record = self._record("volumes", volume_id)
            except NotFound:
                return None
            if not record.get("detaching"):
                return None
            return self._detaching(self._unplugged(record))

    # Account

    def catalogue(self) -> Catalogue:
        return Catalogue((Location(LOCATION, "this machine"),), SIZES, as_of=datetime.now(UTC))

    def check(self) -> tuple[Finding, ...]:
        return (
            Finding("credentials", Verdict.OK, "none are needed"),
            _program(PROGRAM, "qemu-system-x86"),
            _program("qemu-img", "qemu-utils"),
            _program("genisoimage", "genisoimage"),
            self._image_finding(),
        )

    def _image_finding(self) -> Finding:
        try:
            return Finding("image", Verdict.OK, str(_base(self._image)))
        except InvalidRequest as refusal:
            return Finding(
                "image", Verdict.FAILED, refusal.message, "Build one: python -m scripts.vm.images DIRECTORY."
            )

    # Records on disk

    def _records(self, kind: str) -> Iterator[Record]:
        for path in sorted((self._root / kind).glob(f"v*/{RECORD}")):
            yield json.loads(path.read_text())

    def _listed(self, kind: str, installation: str, environment_id: str | None) -> list[Record]:
        return [
            record
            for record in self._records(kind)
            if record["installation"] == installation and environment_id in (None, record["environment_id"])
        ]

    def _record(self, kind: str, resource_id: str) -> Record:
        for record in self._records(kind):
            if record["id"] == resource_id:
                return record
        noun = kind.removesuffix("s").capitalize()
        raise NotFound(f"{noun} {resource_id} does not exist", resource_id=resource_id)

    def _write(self, kind: str, record: Record) -> Record:
        directories.write_atomically(self._root / kind / record["id"] / RECORD, json.dumps(record))
        return record

    def _attached(self, server_id: str) -> list[Record]:
        return [record for record in self._records("volumes") if record["server_id"] == server_id]

    def _disk(self, volume: Record) -> Disk:
        return Disk(serial=volume["id"], path=self._root / "volumes" / volume["id"] / "disk.raw")

    def _machine(self, record: Record) -> Machine:
        size = _size(record["size"])
        base = _base(record["image"]).parent
        kernel, initrd = base / "vmlinuz", base / "initrd"
        boots_itself = not (kernel.exists() and initrd.exists())
        return Machine(
            name=record["id"], directory=self._root / "servers" / record["id"], cores=size.cores,
            memory_mb=size.memory_mb, ports=record["ports"],
            kernel=None if boots_itself else kernel, initrd=None if boots_itself else initrd,
        )  # fmt: skip

    def _server(self, record: Record) -> Server:
        is_running = self._machine(record).is_running()
        return Server(
            id=record["id"], key=_key(record), name=_key(record).cloud_name(), location=LOCATION, size=record["size"],
            state=ServerState.RUNNING if is_running else ServerState.STOPPED, ipv4="127.0.0.1",
            attached_volume_ids=tuple(volume["id"] for volume in self._attached(record["id"])),
            created_at=datetime.fromisoformat(record["created_at"]), raw_state="running" if is_running else "off",
        )  # fmt: skip


def _record_of(key: ResourceKey, resource_id: str) -> Record:
    return {
        "v": 1, "id": resource_id, "installation": key.installation, "environment_id": key.environment_id,
        "name": key.name, "created_at": datetime.now(UTC).isoformat(),
    }  # fmt: skip


def _key(record: Record) -> ResourceKey:
    return ResourceKey(record["installation"], record["environment_id"], record["name"])


def _labels(record: Record) -> Mapping[str, str]:
    return _key(record).labels()


def _volume(record: Record) -> Volume:
    """The link's name is udev's, made of QEMU's vendor and product and the serial number."""
    server_id = record["server_id"]
    state = VolumeState.AVAILABLE if server_id is None else VolumeState.ATTACHED
    if record.get("detaching"):
        state = VolumeState.DETACHING
    return Volume(
        id=record["id"], key=_key(record), name=_key(record).cloud_name(), location=LOCATION,
        size_gb=record["size_gb"], state=state, server_id=server_id,
        device_path=f"/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_{record['id']}", device_serial=record["id"],
        created_at=datetime.fromisoformat(record["created_at"]), raw_state=state.value,
    )  # fmt: skip


def _size(name: str) -> Size:
    for size in SIZES:
        if size.name == name:
            return size
    known = ", ".join(size.name for size in SIZES)
    raise InvalidRequest(f"There is no size {name!r}", fields={"size": f"one of {known} is possible"})


def _base(image: str) -> Path:
    """The disk of an image: a file, or the one in a directory. Raises InvalidRequest."""
    if not image:
        raise InvalidRequest("No image is given", fields={"image": "not given"})
    path = Path(image)
    disk = path / "disk.raw" if path.is_dir() else path
    if not disk.is_file():
        raise InvalidRequest(f"There is no image at {image}", fields={"image": f"{disk} is no file"})
    return disk


def _make_overlay(base: Path, overlay: Path) -> None:
    kind = "qcow2" if base.suffix == ".qcow2" else "raw"
    _run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", kind, str(overlay)], "qemu-utils")


def _make_seed(directory: Path, record: Record, user_data: str) -> None:
    """What cloud-init reads at the boot (NoCloud): user data, and the address and ports at which people reach it."""
    ports = record["ports"]
    metadata = {
        "instance-id": record["id"],
        "local-hostname": record["id"],
        "public-ipv4": "127.0.0.1",
        "sam-proxy-ports": f"{ports[0]}-{ports[-1]}",
    }
    # Without it newer ones ask for an IPv6 lease too, and wait minutes for the answer that QEMU does not give.
    card = {"type": "physical", "name": "eth0", "mac_address": MAC_ADDRESS, "subnets": [{"type": "dhcp4"}]}
    network = {"version": 1, "config": [card]}
    sources = {"user-data": user_data, "meta-data": json.dumps(metadata), "network-config": json.dumps(network)}
    for name, content in sources.items():
        directories.write_atomically(directory / name, content)
    seed = directory / "seed.iso"
    paths = [str(directory / name) for name in sources]
    _run(["genisoimage", "-quiet", "-output", str(seed), "-volid", "cidata", "-joliet", "-rock", *paths], "genisoimage")
    seed.chmod(0o600)
    for name in sources:
        (directory / name).unlink()


def _set_size(path: Path, size_gb: int) -> None:
    """Sparse: what was never written takes no space."""
    with path.open("ab") as file:
        file.truncate(size_gb * GB)


def _run(argv: list[str], package: str) -> None:
    try:
        subprocess.run(
            argv, check=True, timeout=COMMAND_SECONDS, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    except FileNotFoundError as error:
        raise PreconditionFailed(f"{argv[0]} is not on this machine. Install the package {package}") from error
    except subprocess.CalledProcessError as error:
        raise OperationFailed(f"{argv[0]}: {error.stderr.strip()[-300:]}") from error
    except subprocess.TimeoutExpired as error:
        raise OperationFailed(f"{argv[0]} did not end in {COMMAND_SECONDS} s") from error


def _program(name: str, package: str) -> Finding:
    found = shutil.which(name)
    if found is None:
        return Finding(name, Verdict.FAILED, "is not on this machine", f"Install the package {package}.")
    return Finding(name, Verdict.OK, found)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As QEMU does: connections that have ended are no tenants.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

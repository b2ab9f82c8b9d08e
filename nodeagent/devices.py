"""Block devices as volumes: found by id and believed only with size and serial, formatted only when positively blank.

Elsewhere a disk full of data has been formatted because "no answer" was read as "blank". So here a device is blank only
if it is there, is readable, is the right one, has no signature that blkid knows, and begins and ends with nothing but
zeros.
"""

from __future__ import annotations

import os
import stat
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .faults import ApplyError

FILE_SYSTEM = "ext4"
APPEARS_SECONDS = 60.0
COMMAND_SECONDS = 30
FORMAT_SECONDS = 600
BLANK_BYTES = 4 * 1024 * 1024
# A "gigabyte" is 2^30 bytes at one cloud and 10^9 at another; beyond that a disk is another one than was ordered.
MAX_SIZE_RATIO = 1.08
_POLL_SECONDS = 0.5
_SECTOR_BYTES = 512
_NAMESPACE = uuid.UUID("5c1d3a52-7a0c-4c53-9d5c-0b6c2a1f4e11")
_SERIALS = ("ID_SERIAL", "ID_SERIAL_SHORT", "ID_SCSI_SERIAL")
_BLKID_FOUND, _BLKID_NOTHING = 0, 2


@dataclass(frozen=True, slots=True)
class Device:
    """What the statement says of the device: where it is, and how one knows that it is the right one."""

    volume_id: str
    path: Path
    serial: str
    size_bytes: int
    format: str | None

    @staticmethod
    def of(volume_id: str, source: Mapping[str, Any]) -> Device:
        return Device(
            volume_id, Path(source["path"]), str(source["serial"]), int(source["size_bytes"]), source["format"]
        )

    def file_system_id(self, environment_id: str) -> str:
        """The UUID of the file system that we make on it: so it is known again where a crash left it unmarked."""
        return str(uuid.uuid5(_NAMESPACE, f"{environment_id}/{self.volume_id}"))


def find(device: Device, *, wait_seconds: float = APPEARS_SECONDS) -> str:
    """The kernel's name of the device (/dev/sdb), when it is there and is the right one.

    A cloud says "attached" some seconds before the device appears, or has its new size. Raises ApplyError
    `volume.missing`, `volume.other`, `volume.size`.
    """
    until = time.monotonic() + wait_seconds
    while True:
        try:
            return _examined(device)
        except ApplyError:
            if time.monotonic() > until:
                raise
        time.sleep(_POLL_SECONDS)


def _examined(device: Device) -> str:
    try:
        node = os.path.realpath(device.path, strict=True)
        status = Path(node).stat()
    except OSError as error:
        raise ApplyError(
            "volume.missing", f"{device.path} is not there: volume {device.volume_id} is not attached.", retryable=True
        ) from error
    if not stat.S_ISBLK(status.st_mode):
        raise ApplyError("volume.other", f"{device.path} is no block device, so it is not {device.volume_id}.")
    serials = _serials(node)
    if not any(_is_serial(found, device.serial) for found in serials):
        said = ", ".join(serials) or "none"
        raise ApplyError("volume.other", f"{device.path} has the serial number {said}, not {device.serial}.")
    size_bytes = _size_bytes(status)
    if size_bytes < device.size_bytes:
        raise ApplyError(
            "volume.size",
            f"{device.path} has {size_bytes} bytes, fewer than the {device.size_bytes} of volume {device.volume_id}.",
            retryable=True,
        )
    return node


def _serials(node: str) -> list[str]:
    """All that udev knows of it; it reads them from the device when that appears."""
    lines = _output(["udevadm", "info", "--query=property", f"--name={node}"], "volume.other").splitlines()
    known = dict(line.split("=", 1) for line in lines if "=" in line)
    return sorted({known[name] for name in _SERIALS if known.get(name)})


def _is_serial(found: str, wanted: str) -> bool:
    """udev puts vendor and product before the serial number itself, as in 0QEMU_QEMU_HARDDISK_vol-1."""
    return found == wanted or found.endswith((f"_{wanted}", f"-{wanted}"))


def _size_bytes(status: os.stat_result) -> int:
    place = Path(f"/sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}/size")
    return int(place.read_text()) * _SECTOR_BYTES


def has_our_file_system(node: str, device: Device, environment_id: str) -> bool:
    """Whether it carries the file system that this volume was given: by its UUID, which no other has."""
    return _signature(node).get("UUID") == device.file_system_id(environment_id)


def ensure_file_system(node: str, device: Device, environment_id: str) -> None:
    """An ext4 on the device: the one that is there, or a new one where that is allowed and there is positively nothing.

    Raises ApplyError `volume.foreign`, `volume.blank`, `volume.size`, `volume.format`.
    """
    found = _signature(node)
    if found.get("TYPE") == FILE_SYSTEM:
        return
    if found:
        what = found.get("TYPE") or found.get("PTTYPE") or "something"
        raise ApplyError(
            "volume.foreign", f"{device.path} holds {what}, not {FILE_SYSTEM}. It is left as it is: look what it is."
        )
    if device.format is None:
        raise ApplyError(
            "volume.blank",
            f"{device.path} has no file system, and volume {device.volume_id} had one. Nothing is formatted: bring the "
            "volume's content back, or delete the volume.",
        )
    _check_blank(node, device)
    argv = ["mkfs.ext4", "-q", "-m", "1", "-U", device.file_system_id(environment_id), "-E", "lazy_itable_init=1", node]
    _output(argv, "volume.format", seconds=FORMAT_SECONDS)


def _signature(node: str) -> Mapping[str, str]:
    """What blkid finds by looking at the device itself, not at what it remembers; empty: it looked and found nothing.

    Raises ApplyError `volume.unreadable` for any answer that is neither.
    """
    done = _run(["blkid", "--probe", "--output", "export", node])
    if done.returncode == _BLKID_FOUND:
        return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode == _BLKID_NOTHING and not done.stdout.strip() and not done.stderr.strip():
        return {}
    raise ApplyError("volume.unreadable", f"blkid cannot tell what is on {node}: {done.stderr.strip()[:200]}.")


def _check_blank(node: str, device: Device) -> None:
    """blkid says the same, 2, for "nothing on it" and "could not read it": so it is read here as well."""
    try:
        with Path(node).open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(0)
            beginning = file.read(min(BLANK_BYTES, size_bytes))
            file.seek(max(size_bytes - BLANK_BYTES, 0))
            end = file.read(BLANK_BYTES)
    except OSError as error:
        raise ApplyError("volume.unreadable", f"{node} cannot be read: {error.strerror}.") from error
    if not beginning or beginning.count(0) + end.count(0) != len(beginning) + len(end):
        raise ApplyError(
            "volume.foreign", f"{device.path} has no file system and is not blank either. It is left as it is."
        )
    if size_bytes > device.size_bytes * MAX_SIZE_RATIO:
        raise ApplyError(
            "volume.size", f"{device.path} has {size_bytes} bytes, far more than {device.size_bytes}: not formatted."
        )


def grow(node: str) -> None:
    """Let the mounted file system have all of the device; nothing where it has already. Raises `volume.grow`."""
    _output(["resize2fs", node], "volume.grow", seconds=FORMAT_SECONDS)


def _output(argv: Sequence[str], code: str, *, seconds: float = COMMAND_SECONDS) -> str:
    done = _run(argv, seconds=seconds)
    if done.returncode != 0:
        raise ApplyError(code, f"{' '.join(argv)}: {done.stderr.strip()[:300]}.")
    return done.stdout


def _run(argv: Sequence[str], *, seconds: float = COMMAND_SECONDS) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin", "LC_ALL": "C"}
    try:
        return subprocess.run(argv, timeout=seconds, capture_output=True, text=True, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApplyError("volume.command", f"{' '.join(argv)}: {error}.") from error

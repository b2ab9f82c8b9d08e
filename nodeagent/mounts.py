"""Volumes of an environment: mounted where its containers expect them, and never a plain directory in their place.

A volume's own root carries a marker that its provider wrote; containers get its `data` sub-directory (a fresh ext4 has
a `lost+found` at its root, on which databases stumble).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import docker.types

from . import devices, files
from .bundles import Bundle, Volume
from .containers import ENVIRONMENT, ROLE, Engine, spoken
from .faults import ApplyError

DEFAULT_ROOT = Path("/mnt")
MARKER = "sam-volume.json"
COMMAND_TIMEOUT_SECONDS = 30
_MOUNTS = Path("/proc/self/mountinfo")


class Mounts:
    """The volumes below one root, /mnt unless said. Methods raise ApplyError with a code `volume.*`."""

    def __init__(self, root: Path = DEFAULT_ROOT):
        self._root = root
        self._kinds: Mapping[str, Callable[[str, Volume], None]] = {
            "directory": self._mount_directory,
            "device": self._mount_device,
        }

    def path(self, environment_id: str, name: str) -> Path:
        """Where the volume is mounted."""
        return self._root / f"sam-env-{environment_id}" / "volumes" / name

    def mount(self, environment_id: str, volumes: Iterable[Volume]) -> None:
        """Mount what is not mounted yet, and be sure of all. Safe to repeat."""
        for volume in volumes:
            kind = str(volume.source.get("kind"))
            if kind not in self._kinds:
                raise ApplyError(
                    "volume.kind",
                    f"Volume {volume.name} is a {kind}, which this agent cannot mount. Update the agent.",
                )
            self._kinds[kind](environment_id, volume)
            self.guard(environment_id, volume)

    def guard(self, environment_id: str, volume: Volume) -> None:
        """Be sure that the very volume is mounted there, by mount table and marker, not by the look of a directory."""
        path = self.path(environment_id, volume.name)
        if str(path) not in _mounted():
            raise ApplyError("volume.not_mounted", f"Volume {volume.name} is not mounted at {path}.")
        if os.statvfs(path).f_flag & os.ST_RDONLY:
            # What ext4 does after an error of its disk.
            raise ApplyError(
                "volume.read_only", f"Volume {volume.name} became read-only. Look at the machine's kernel log."
            )
        _check_marker(path, environment_id, volume)

    def _mount_directory(self, environment_id: str, volume: Volume) -> None:
        source = Path(str(volume.source["path"]))
        if not source.is_dir():
            raise ApplyError(
                "volume.missing", f"The directory of volume {volume.name}, {source}, is not there. Bring it back."
            )
        _check_marker(source, environment_id, volume)
        path = self.path(environment_id, volume.name)
        if str(path) in _mounted():
            if path.samefile(source):
                return
            raise ApplyError("volume.other_mount", f"Something else is mounted at {path}. Unmount it.")
        path.mkdir(parents=True, exist_ok=True)
        _run(["mount", "--bind", "--options", "nosuid,nodev", str(source), str(path)], "volume.mount")

    def _mount_device(self, environment_id: str, volume: Volume) -> None:
        """The marker is ours to write here: once, on the file system that we made for this volume."""
        device = devices.Device.of(volume.id, volume.source)
        node = devices.find(device)
        path = self.path(environment_id, volume.name)
        if str(path) in _mounted():
            if path.stat().st_dev != Path(node).stat().st_rdev:
                raise ApplyError("volume.other_mount", f"Something else is mounted at {path}. Unmount it.")
        else:
            devices.ensure_file_system(node, device, environment_id)
            path.mkdir(parents=True, exist_ok=True)
            _run(
                ["mount", "--types", devices.FILE_SYSTEM, "--options", "nosuid,nodev", node, str(path)], "volume.mount"
            )
        if not (path / MARKER).exists() and devices.has_our_file_system(node, device, environment_id):
            marker = {"v": 1, "id": volume.id, "environment_id": environment_id, "name": volume.name}
            files.replace_json(path / MARKER, marker)
        devices.grow(node)

    def unmount(self, environment_id: str) -> None:
        """Unmount all volumes of the environment and remove their mount points. Their content stays where it is."""
        place = self._root / f"sam-env-{environment_id}"
        for mounted in sorted((m for m in _mounted() if Path(m).is_relative_to(place)), reverse=True):
            _run(["umount", mounted], "volume.unmount")
        # rmdir, never a recursive removal: what is not empty is not ours.
        for directory in [*place.glob("volumes/*"), place / "volumes", place]:
            if directory.is_dir() and not any(directory.iterdir()):
                directory.rmdir()

    def fill(self, engine: Engine, bundle: Bundle) -> None:
        """Give each volume its `data` directory; at its very first use with what the image has at that place.

        The copy is made by Docker itself, as for its own volumes: owner and mode included, and confined to the volume
        whatever links the image contains. It is made beside, and renamed when complete, so `data` is never half full.
        """
        for volume in bundle.volumes:
            self.guard(bundle.environment_id, volume)
            root = self.path(bundle.environment_id, volume.name)
            if not (root / "data").is_dir():
                self._fill(engine, bundle, root)

    def _fill(self, engine: Engine, bundle: Bundle, root: Path) -> None:
        filling = root / "data.filling"
        if filling.exists():  # of a crashed attempt; no container has ever seen it
            shutil.rmtree(filling)
        filling.mkdir(mode=0o755)
        for image, target in _users(bundle, str(root / "data")):
            _copy_from_image(engine, bundle.environment_id, image, target, filling)
            if any(filling.iterdir()):
                break
        filling.rename(root / "data")
        files.sync_directory(root)


def _users(bundle: Bundle, source: str) -> list[tuple[str, str]]:
    """(image, path in it) of each service that mounts the volume, writers first."""
    users = [
        (mount.read_only, service.image, mount.target)
        for service in bundle.services.values()
        for mount in service.mounts
        if mount.source == source
    ]
    return [(image, target) for _, image, target in sorted(users)]


def _copy_from_image(engine: Engine, environment_id: str, image: str, target: str, into: Path) -> None:
    """Have Docker fill it from the image: by a volume that is that directory, in a container never run."""
    name = f"sam-fill-{uuid.uuid4().hex[:12]}"
    labels = {ENVIRONMENT: environment_id, ROLE: "fill"}
    with spoken("volume.fill", f"Filling a volume from {image}"):
        options = {"type": "none", "o": "bind", "device": str(into)}
        engine.api.create_volume(name, driver="local", driver_opts=options, labels=labels)
        try:
            mount = docker.types.Mount(target=target, source=name, type="volume")
            created = engine.api.create_container(
                image, command=["never"], labels=labels, host_config=engine.api.create_host_config(mounts=[mount]),
                network_disabled=True,
            )  # fmt: skip
            engine.api.remove_container(created["Id"], force=True)
        finally:
            engine.api.remove_volume(name, force=True)


def _check_marker(root: Path, environment_id: str, volume: Volume) -> None:
    """Refuse a directory that does not say itself that it is this volume."""
    try:
        marker: Any = json.loads((root / MARKER).read_bytes())
        says = (marker["id"], marker["environment_id"], marker["name"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ApplyError(
            "volume.unmarked", f"{root} has no readable {MARKER}, so it is not believed to be volume {volume.name}."
        ) from error
    if says != (volume.id, environment_id, volume.name):
        raise ApplyError(
            "volume.other",
            f"{root} is volume {says[2]} ({says[0]}) of environment {says[1]}, not {volume.name} ({volume.id}).",
        )


def _mounted() -> set[str]:
    """All mount points, from the kernel's table: `os.path.ismount` does not see a bind mount within one file system."""
    return {_unescaped(line.split(" ", 5)[4]) for line in _MOUNTS.read_text().splitlines()}


def _unescaped(text: str) -> str:
    """The table writes space, tab, newline and backslash in octal (proc(5))."""
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text


def _run(argv: Sequence[str], code: str) -> None:
    try:
        subprocess.run(argv, check=True, timeout=COMMAND_TIMEOUT_SECONDS, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise ApplyError(code, f"{' '.join(argv)}: {error.stderr.strip()[:300]}.") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ApplyError(code, f"{' '.join(argv)}: {error}.") from error

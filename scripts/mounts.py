"""What Docker Engine expects to be mounted, for machines that are a bare chroot: elsewhere it is all there already."""

from __future__ import annotations

import subprocess
from pathlib import Path

from scripts import binaries

CONTROL_GROUPS = Path("/sys/fs/cgroup")
MOUNTED_ROOT = Path("/run/sam-root")
VOLUMES = Path("/mnt")


def is_mounted(place: Path) -> bool:
    """Whether something is mounted exactly there."""
    return str(place) in [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def have_control_groups() -> None:
    """Mount the kernel's control groups where nobody did, in the version that the machine uses (cgroups(7))."""
    if CONTROL_GROUPS.is_dir() and any(CONTROL_GROUPS.iterdir()):
        return
    if not is_mounted(Path("/sys")):
        _mount("-t", "sysfs", "sysfs", "/sys")
    controllers = _controllers_of_the_first_version()
    if not controllers:
        _mount("-t", "cgroup2", "cgroup2", str(CONTROL_GROUPS))
        return
    _mount("-t", "tmpfs", "-o", "mode=755", "cgroup", str(CONTROL_GROUPS))
    for controller in controllers:
        (CONTROL_GROUPS / controller).mkdir()
        _mount("-t", "cgroup", "-o", controller, "cgroup", str(CONTROL_GROUPS / controller))


def behind_a_mounted_root(argv: list[str]) -> list[str]:
    """The same command with a root that is a mount point, which the root of a chroot is not.

    dockerd remounts / before it unpacks a layer, and fails with `remount /: invalid argument` otherwise. The volumes'
    root is shared between both, so that what the agent mounts there is seen by containers.
    """
    if not is_mounted(MOUNTED_ROOT):
        if not is_mounted(VOLUMES):
            _mount("--bind", str(VOLUMES), str(VOLUMES))
        _mount("--make-rshared", str(VOLUMES))
        MOUNTED_ROOT.mkdir(parents=True, exist_ok=True)
        _mount("--rbind", "/", str(MOUNTED_ROOT))
    return [binaries.find("chroot"), str(MOUNTED_ROOT), *argv]


def _controllers_of_the_first_version() -> list[str]:
    """Those that hang in a hierarchy of their own: their second column is not 0."""
    rows = [line.split() for line in Path("/proc/cgroups").read_text().splitlines() if not line.startswith("#")]
    return [name for name, hierarchy, _, enabled in rows if hierarchy != "0" and enabled == "1"]


def _mount(*words: str) -> None:
    subprocess.run([binaries.find("mount"), *words], check=True, capture_output=True, timeout=10)

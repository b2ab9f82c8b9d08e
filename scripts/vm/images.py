"""Builds the demonstration's disk image from this machine's own Debian source: what a node needs is in it already.

`python -m scripts.vm.images DIRECTORY` writes `disk.raw` (ext4, no partition table, no boot loader), `vmlinuz` and
`initrd`, as the `qemu` provider wants them. About a minute on two cores, as root; what is there stays. `--plain` leaves
out what a node installs for itself, as a cloud's own image does; `--debian 13` is for another than this machine's.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scripts import binaries, clocks

BUILD_SECONDS = 1800
DISK_BYTES = 4 * 10**9  # sparse: a file system to grow into
DOCKER = ("docker.io", "docker-cli", "docker-buildx", "docker-compose")
PLAIN = (
    "linux-image-cloud-amd64", "initramfs-tools", "zstd", "systemd-sysv", "dbus", "udev", "cloud-init", "ifupdown",
    "isc-dhcp-client", "iproute2", "netbase", "ca-certificates", "curl", "apt-utils", "e2fsprogs", "python3",
)  # fmt: skip
FOR_NODES = ("iptables", "apparmor", "haproxy", "python3-nacl", "python3-yaml", *DOCKER)
CODENAMES = {"12": "bookworm", "13": "trixie"}
# Under emulation each service that has nothing to do here costs a second of a boot that is timed.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "e2scrub_reap.service",
    "haproxy.service",
    "dpkg-db-backup.timer",
)
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_scsi", "sd_mod", "ext4")
WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
# Compose v2 came to Debian with 13: on 12 these few packages come from there, and nothing else.
PINS = """\
Package: *
Pin: release n=trixie
Pin-Priority: -1

Package: {packages}
Pin: release n=trixie
Pin-Priority: 990
"""


class ImageError(RuntimeError):
    """The image cannot be built on this machine."""

    code = "vm.image"
    retryable = False

    def __init__(self, why: str):
        self.why = why

    def __str__(self) -> str:
        return f"The image for virtual machines cannot be built: {self.why}"


@dataclass(frozen=True, slots=True)
class Image:
    """The files that a machine boots from; the disk is only ever a base that overlays lie on."""

    directory: Path
    codename: str
    is_plain: bool = False

    @property
    def disk(self) -> Path:
        return self.directory / "disk.raw"

    @property
    def kernel(self) -> Path:
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.directory / "initrd"

    def is_built(self) -> bool:
        return all(path.exists() for path in (self.disk, self.kernel, self.initrd))


def ensure(directory: Path, *, codename: str = "", is_plain: bool = False) -> Image:
    """The image in the directory, built if it is not there; of this machine's Debian unless said. Raises ImageError."""
    image = Image(directory, codename or _codename(), is_plain)
    if not image.is_built():
        directory.mkdir(parents=True, exist_ok=True)
        build(image)
    return image


def build(image: Image) -> None:
    """Build it beside, and rename: an interrupted build leaves no image that looks whole. Raises ImageError."""
    if os.geteuid() != 0:
        raise ImageError("a root file system is made by root. Run this as root.")
    with tempfile.TemporaryDirectory(dir=image.directory, prefix=".build-") as made:
        root = Path(made) / "root"
        _run(bootstrap_argv(root, image, _source(image.codename)))
        _settle(root)
        shutil.copy(next((root / "boot").glob("initrd.img-*")), image.initrd)
        shutil.copy(next((root / "boot").glob("vmlinuz-*")), image.kernel)
        disk = Path(made) / "disk.raw"
        with disk.open("wb") as file:
            file.truncate(DISK_BYTES)
        _run([binaries.find("mkfs.ext4"), "-q", "-F", "-L", "root", "-d", str(root), str(disk)])
        disk.replace(image.disk)


def bootstrap_argv(root: Path, image: Image, source: str) -> list[str]:
    """The command that fills `root` with that Debian, and with Docker from 13 where it is 12."""
    argv = [binaries.find("mmdebstrap"), "--mode=root", "--variant=minbase", "--format=directory", "--skip=check/empty"]
    argv += ["--aptopt=Apt::Install-Recommends false", *(f"--dpkgopt=path-exclude={path}" for path in WITHOUT)]
    argv += [f"--include={','.join(PLAIN if image.is_plain else (*PLAIN, *FOR_NODES))}"]
    suites = [f"deb {source} {image.codename} main"]
    if image.codename == "bookworm" and not image.is_plain:
        pins = PINS.format(packages=" ".join(DOCKER)).replace("\n", "\\n")
        path = '"$1/etc/apt/preferences.d'
        argv += [f"--setup-hook=mkdir -p {path}\"; printf '{pins}' > {path}/docker-from-trixie\""]
        suites += [f"deb {source} trixie main"]
    drivers = "\\n".join(DRIVERS)
    argv += [f"--customize-hook=printf '{drivers}\\n' >> \"$1/etc/initramfs-tools/modules\""]
    argv += [
        '--customize-hook=echo MODULES=list > "$1/etc/initramfs-tools/conf.d/few"; chroot "$1" update-initramfs -u'
    ]
    argv += [f'--customize-hook=chroot "$1" systemctl mask {" ".join(MASKED)}']
    return [*argv, image.codename, str(root), *suites]


def _settle(root: Path) -> None:
    """What makes a file system a machine's: where its data comes from, its disk, and no identity yet."""
    sources = root / "etc/cloud/cloud.cfg.d/90_seed.cfg"
    sources.write_text("datasource_list: [ NoCloud, None ]\n")
    (root / "etc/fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (root / "etc/machine-id").write_text("")
    (root / "etc/hostname").write_text("node\n")


def _codename() -> str:
    """Raises ImageError for a machine that is no Debian, or an older one."""
    known = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    codename = known.get("VERSION_CODENAME", "").strip('"')
    if known.get("ID", "").strip('"') != "debian" or codename not in ("bookworm", "trixie"):
        raise ImageError(f"this machine is {known.get('PRETTY_NAME', 'unknown')}; it is built on Debian 12 or 13.")
    return codename


def _source(codename: str) -> str:
    """The address of this machine's own source of the suite. Raises ImageError."""
    wanted = "$(REPO_URI) $(COMPONENT) $(RELEASE) $(CODENAME)"  # the last is known after an update alone
    for line in _run(["apt-get", "indextargets", "--format", wanted, "Created-By: Packages"]).splitlines():
        address, component, *suites = line.split(" ")
        if component == "main" and codename in suites:
            return address
    raise ImageError(f"this machine has no package source of {codename}.")


def _run(argv: list[str]) -> str:
    try:
        done = subprocess.run(
            argv, check=True, timeout=BUILD_SECONDS, capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError as error:
        raise ImageError(f"{argv[0]} ended with {error.returncode}: {error.stderr.strip()[-1500:]}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ImageError(f"{argv[0]}: {error}") from error
    return done.stdout


def main(argv: list[str] | None = None) -> int:
    """0 built or there already, 1 not possible here, 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m scripts.vm.images", description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--plain", action="store_true", help="without what a node installs for itself")
    parser.add_argument("--debian", choices=sorted(CODENAMES), help="default: this machine's")
    options = parser.parse_args(argv)
    clock = clocks.Clock("vm-image")
    try:
        codename = CODENAMES.get(options.debian or "", "")
        image = ensure(options.directory.absolute(), codename=codename, is_plain=options.plain)
    except (ImageError, binaries.MissingBinaryError) as refusal:
        print(f"vm-image: {refusal}", file=sys.stderr)
        return 1
    clock.tell(f"{image.disk}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

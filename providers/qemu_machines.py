"""Virtual machines as processes of this machine: how one is started, asked over its QMP socket, and ended.

Knows no records and no interface of ours. A machine's process is nobody's child: it outlives the worker that started
it, as a cloud's does. Facts about options and commands: QEMU's own documentation (invocation, QMP reference).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from providers.errors import Busy, OperationFailed, PreconditionFailed

START_SECONDS = 20.0
ASK_SECONDS = 5.0
END_SECONDS = 5.0
RELEASE_SECONDS = 1.0
PROGRAM = "qemu-system-x86_64"
MAC_ADDRESS = "52:54:00:12:34:56"
"""Of every machine: each is alone in a network of its own."""
_CPU_FLAGS = Path("/proc/cpuinfo")


@dataclass(frozen=True, slots=True)
class Disk:
    """A data disk: a raw file, and what the guest sees as its serial number."""

    serial: str
    path: Path

    @property
    def node(self) -> str:
        return f"file-{self.serial}"

    @property
    def device(self) -> str:
        return f"disk-{self.serial}"


@dataclass(frozen=True, slots=True)
class Machine:
    """What one machine is made of. Its directory holds `disk.qcow2` and `seed.iso`; kernel None: the disk boots itself.

    `ports` are forwarded from this machine's loopback to the same ports of the guest.
    """

    name: str
    directory: Path
    cores: int
    memory_mb: int
    ports: Sequence[int]
    kernel: Path | None = None
    initrd: Path | None = None

    def is_running(self) -> bool:
        return self.pid() is not None

    def pid(self) -> int | None:
        """Its process, if that lives and is this machine's: process ids are used again."""
        try:
            pid = int((self.directory / "pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if self.name.encode() in command.split(b"\0") else None

    def start(self, disks: Sequence[Disk]) -> None:
        """Power it on with these data disks. Raises PreconditionFailed, OperationFailed with QEMU's own words."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise PreconditionFailed(f"{PROGRAM} is not on this machine. Install the package qemu-system-x86")
        argv = [program, *self._argv(), *(word for disk in disks for word in _disk_argv(disk))]
        try:
            # With an environment of its own: what starts it may hold secrets, and marks by which it is ended.
            subprocess.run(
                argv, cwd=self.directory, env={"PATH": os.defpath}, check=True, timeout=START_SECONDS,
                stdin=subprocess.DEVNULL, capture_output=True, text=True,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            raise OperationFailed(f"{PROGRAM}: {error.stderr.strip()[-300:]}", resource_id=self.name) from error
        except subprocess.TimeoutExpired as error:
            raise OperationFailed(f"{PROGRAM} did not start in {START_SECONDS:.0f} s", resource_id=self.name) from error

    def _argv(self) -> list[str]:
        boot: list[str] = []
        if self.kernel is not None and self.initrd is not None:
            command_line = "root=/dev/vda rw console=ttyS0 net.ifnames=0 quiet"
            boot = ["-kernel", str(self.kernel), "-initrd", str(self.initrd), "-append", command_line]
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:{port}-:{port}" for port in self.ports)
        return [
            "-name", self.name, "-machine", "q35", "-cpu", "max", "-accel", _accelerator(),
            "-smp", str(self.cores), "-m", str(self.memory_mb),
            "-nodefaults", "-no-user-config", "-display", "none", "-daemonize", "-pidfile", "pid",
            "-serial", "file:console.log", "-qmp", "unix:qmp,server=on,wait=off",
            *boot,
            # Written through to the file when the guest says so: a power cut takes what a real one would.
            "-drive", "file=disk.qcow2,if=virtio,format=qcow2,cache=writeback",
            "-drive", "file=seed.iso,if=virtio,format=raw,readonly=on",
            "-netdev", f"user,id=net{forwards}", "-device", f"virtio-net-pci,netdev=net,mac={MAC_ADDRESS}",
            "-device", "virtio-rng-pci", "-device", "virtio-scsi-pci,id=scsi",
        ]  # fmt: skip

    def kill(self) -> None:
        """Cut its power. Waits until the process is gone, since it holds locks on the disks. Raises Busy."""
        until = time.monotonic() + END_SECONDS
        while (pid := self.pid()) is not None:
            if time.monotonic() > until:
                raise Busy(f"Process {pid} of {self.name} does not end")
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return
            time.sleep(0.02)

    def plug(self, disk: Disk) -> None:
        """Give the running machine the disk; one that it has already stays. Raises OperationFailed, Busy."""
        with self._monitor() as monitor:
            known = {each["node-name"] for each in monitor.ask("query-named-block-nodes", flat=True)}
            if disk.node not in known:
                monitor.ask("blockdev-add", **_block_node(disk))
            if not monitor.has_device(disk.device):
                monitor.ask("device_add", **_scsi_disk(disk))

    def unplug(self, disk: Disk) -> bool:
        """Take the disk away. False: the guest has not let go of it yet; ask again. Raises OperationFailed, Busy."""
        with self._monitor() as monitor:
            if monitor.has_device(disk.device):
                monitor.ask("device_del", id=disk.device)
            if monitor.has_device(disk.device):
                return False
            known = {each["node-name"] for each in monitor.ask("query-named-block-nodes", flat=True)}
            return disk.node not in known or monitor.frees(disk.node)

    def grow(self, disk: Disk, size_bytes: int) -> None:
        """Let the guest see the disk's new size at once. Raises OperationFailed, Busy."""
        with self._monitor() as monitor:
            monitor.ask("block_resize", **{"node-name": disk.node, "size": size_bytes})

    @contextmanager
    def _monitor(self) -> Iterator[Monitor]:
        """The QMP socket, by way of a descriptor: its own path may be longer than a socket's address can be."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with closing(socket.socket(socket.AF_UNIX)) as connection:
                connection.settimeout(ASK_SECONDS)
                try:
                    connection.connect(f"/proc/self/fd/{descriptor}/qmp")
                    with connection.makefile("r", encoding="utf-8") as answers:
                        yield Monitor(connection, answers, self.name)
                except OSError as error:
                    raise Busy(f"The monitor of {self.name} does not answer: {error}", resource_id=self.name) from error
        finally:
            os.close(descriptor)


class Monitor:
    """One conversation over QMP: a greeting, capabilities, then commands one after the other; events are skipped."""

    def __init__(self, connection: socket.socket, answers: TextIO, machine: str):
        self._machine = machine
        self._connection = connection
        self._lines = answers
        self._lines.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """What the command returns. Raises OperationFailed with QEMU's own words, OSError."""
        message = {"execute": command, "arguments": arguments}
        self._connection.sendall(json.dumps(message).encode() + b"\n")
        while line := self._lines.readline():
            answer = json.loads(line)
            if "error" in answer:
                said = f"{command}: {answer['error']['desc']}"
                raise OperationFailed(said, provider_code=answer["error"]["class"], resource_id=self._machine)
            if "return" in answer:
                return answer["return"]
        raise ConnectionResetError(f"the monitor closed during {command}")

    def frees(self, node: str) -> bool:
        """Close a disk's file. False: its device is gone for the guest, and QEMU still takes it apart.

        That takes milliseconds, so that it is worth asking again at once.
        """
        until = time.monotonic() + RELEASE_SECONDS
        while True:
            try:
                self.ask("blockdev-del", **{"node-name": node})
            except OperationFailed as refusal:
                if "in use" not in refusal.message:
                    raise
            else:
                return True
            if time.monotonic() > until:
                return False
            time.sleep(0.02)

    def has_device(self, name: str) -> bool:
        """Whether a device of that id is plugged in."""
        known = self.ask("qom-list", path="/machine/peripheral")
        return any(each["name"] == name for each in known)


def _accelerator() -> str:
    """/dev/kvm may exist and not work: without these flags there is no virtualisation to use."""
    flags = _CPU_FLAGS.read_text()
    if " vmx " in flags or " svm " in flags:
        return "kvm"
    return "tcg,thread=multi,tb-size=256"


def _block_node(disk: Disk) -> Mapping[str, Any]:
    return {
        "driver": "raw",
        "node-name": disk.node,
        "file": {"driver": "file", "filename": str(disk.path)},
        "discard": "unmap",
    }


def _scsi_disk(disk: Disk) -> Mapping[str, str]:
    return {"driver": "scsi-hd", "id": disk.device, "drive": disk.node, "serial": disk.serial, "bus": "scsi.0"}


def _disk_argv(disk: Disk) -> list[str]:
    """The same as plugging it, for a machine that starts with it."""
    return ["-blockdev", json.dumps(_block_node(disk)), "-device", json.dumps(_scsi_disk(disk))]

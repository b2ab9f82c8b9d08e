"""Docker Engine: the one that answers, else one that is started."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from scripts import binaries, mounts

DEFAULT_HOST = "unix:///var/run/docker.sock"


class EngineError(RuntimeError):
    """Docker Engine does not answer and cannot be started."""

    code = "install.engine"
    retryable = False

    def __init__(self, host: str, said: str):
        self.host, self.said = host, said

    def __str__(self) -> str:
        return f"Docker Engine does not answer at {self.host}, and could not be started: {self.said.strip()}"


def host() -> str:
    """Where the engine is looked for: DOCKER_HOST, else the usual socket."""
    return os.environ.get("DOCKER_HOST") or DEFAULT_HOST


def answers(address: str) -> bool:
    asked = subprocess.run(
        [binaries.find("docker"), "-H", address, "version", "--format", "{{.Server.Version}}"],
        capture_output=True,
        timeout=20,
    )
    return asked.returncode == 0


def ensure(log: Path) -> bool:
    """Have an engine at `host()`, and say whether it had to be started. It outlives us, as others may use it.

    An engine that DOCKER_HOST names elsewhere is somebody's choice, and never started here. Raises EngineError.
    """
    address = host()
    if answers(address):
        return False
    if address != DEFAULT_HOST:
        raise EngineError(address, "DOCKER_HOST names it, so start it there, or unset DOCKER_HOST.")
    if os.geteuid() != 0:
        raise EngineError(address, "only root can start it. Start it, or run this as root.")
    if not _started_by_the_machine(address):
        _start(address, log)
    return True


def command(root: Path, address: str, *extra: str) -> list[str]:
    """An engine apart from the machine's: its own images, its own runtime files, its own socket.

    Without `--bridge=none` or a network namespace of its own it would fight the other engine over iptables.
    """
    argv = [binaries.find("dockerd"), "-H", address, "--data-root", str(root / "lib"), "--exec-root", str(root / "run")]
    return [*argv, "--pidfile", str(root / "dockerd.pid"), *extra]


def wait_until_ready(address: str, starting: subprocess.Popen[bytes], log: Path, *, seconds: float = 60) -> None:
    """Until it answers. Raises EngineError with the end of its log."""
    until = time.monotonic() + seconds
    while not answers(address):
        if starting.poll() is not None or time.monotonic() > until:
            raise EngineError(address, "\n".join(log.read_text(errors="replace").splitlines()[-5:]))
        time.sleep(0.1)


def _started_by_the_machine(address: str) -> bool:
    """Where systemd runs, the engine is its business: it will be there after the next boot as well."""
    if not Path("/run/systemd/system").is_dir():
        return False
    subprocess.run(["systemctl", "start", "docker"], capture_output=True, timeout=120)
    return answers(address)


def _start(address: str, log: Path) -> None:
    argv = [binaries.find("dockerd"), "-H", address]
    mounts.have_control_groups()
    if not mounts.is_mounted(Path("/")):
        argv = mounts.behind_a_mounted_root(argv)
    with log.open("ab") as out:
        started = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    wait_until_ready(address, started, log)

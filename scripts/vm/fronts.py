"""The one address of a demonstration: this machine and its virtual machines reach plane and registry there, by TLS."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts import binaries, ports
from scripts.vm.authority import Authority

ADDRESS = "203.0.113.77"
"""Of a block that is for documentation (RFC 5737): nobody's, so nothing is hidden by it while it is this machine's."""

START_SECONDS = 10
_CONFIGURATION = """\
global
    maxconn 1000
defaults
    mode http
    timeout connect 5s
    timeout client 120s
    timeout server 120s
    timeout http-request 30s
"""
_FRONT = """
listen {name}
    bind {address}:{port} ssl crt {certificate}
    http-request set-header X-Forwarded-Proto https
    server {name} 127.0.0.1:{target}
"""


@dataclass(frozen=True, slots=True)
class Front:
    """Ports of the address, and what each leads to on loopback: the control plane's web and its registry."""

    web: int
    registry: int

    @property
    def public_url(self) -> str:
        return f"https://{ADDRESS}:{self.web}"

    @property
    def registry_url(self) -> str:
        return f"https://{ADDRESS}:{self.registry}"


@contextmanager
def address() -> Iterator[None]:
    """Have the address on this machine's loopback interface; root only. One that was there stays."""
    ip = binaries.find("ip")
    known = subprocess.run([ip, "-4", "addr", "show", "dev", "lo"], capture_output=True, text=True, check=True).stdout
    if f" {ADDRESS}/" in known:
        yield
        return
    subprocess.run([ip, "addr", "add", f"{ADDRESS}/32", "dev", "lo"], check=True)
    try:
        yield
    finally:
        subprocess.run([ip, "addr", "del", f"{ADDRESS}/32", "dev", "lo"], check=True)


@contextmanager
def serving(front: Front, plane: ports.Ports, authority: Authority, directory: Path) -> Iterator[None]:
    """Answer at the address until the block ends. Raises TimeoutError."""
    configuration = directory / "front.cfg"
    targets = (("web", front.web, plane.web), ("registry", front.registry, plane.registry))
    configuration.write_text(
        _CONFIGURATION
        + "".join(
            _FRONT.format(name=name, address=ADDRESS, port=port, certificate=authority.server, target=target)
            for name, port, target in targets
        )
    )
    with (directory / "front.log").open("ab") as log:
        argv = [binaries.find("haproxy"), "-db", "-f", str(configuration)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            _wait_until_listening(front.web)
            yield
        finally:
            process.terminate()
            process.wait(START_SECONDS)


def _wait_until_listening(port: int) -> None:
    until = time.monotonic() + START_SECONDS
    while port not in ports.listening():
        if time.monotonic() > until:
            raise TimeoutError(f"Nothing listens at {ADDRESS}:{port} after {START_SECONDS} s.")
        time.sleep(0.05)

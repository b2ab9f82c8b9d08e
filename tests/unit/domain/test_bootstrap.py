"""The bootstrap of a node as a process of this machine: what it tells, and what it does when something is missing."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from deployments.domain import cloudinit

BOOTSTRAP = Path(cloudinit.__file__).with_name("bootstrap.sh")
TOKEN = "one-time-token-0123456789"


class ControlPlane:
    """Remembers every report, and with which authorization it came."""

    def __init__(self) -> None:
        self.reports: list[dict[str, Any]] = []
        self.authorizations: set[str | None] = set()
        plane = self

        class Answer(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                plane.reports += json.loads(body)["reports"]
                plane.authorizations.add(self.headers["Authorization"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def told(self) -> list[tuple[str, str]]:
        ordered = sorted(self.reports, key=lambda each: each["at"])
        return [(each["phase"], each["state"]) for each in ordered]


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    made = ControlPlane()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def home(tmp_path: Path, plane: ControlPlane) -> Path:
    """What cloud-init would have written."""
    place = tmp_path / "boot"
    place.mkdir()
    (place / "settings").write_text(f"CONTROL_URL=http://127.0.0.1:{plane.server.server_address[1]}\n")
    (place / "authorization").write_text(f"Authorization: Bearer {TOKEN}\n")
    return place


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """Programs of a machine that has no Docker, and whose package sources give nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(
        '#!/bin/sh\n[ "$1" = indextargets ] || { echo "E: no mirror \\"here\\""; exit 100; }\n'
    )
    (programs / "apt-get").chmod(0o755)
    for name in ("sh", "cat", "date", "curl", "grep", "sed", "awk", "tail", "sleep"):
        found = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        (programs / name).symlink_to(found)
    return str(programs)


def run(function: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    state = home.parent / "state"
    given = {"PATH": os.environ["PATH"], "SAM_BOOT_DIR": str(home), "SAM_STATE_DIR": str(state), **environment}
    return subprocess.run(
        ["sh", "-eu", str(BOOTSTRAP), function], env=given, capture_output=True, text=True, timeout=60
    )


def test_a_boot_tells_each_phase_and_its_failure_with_the_end_of_its_log(
    home: Path, plane: ControlPlane, bare_path: str
) -> None:
    ended = run("boot", home, PATH=bare_path)

    assert ended.returncode == 1
    assert plane.told() == [
        ("network", "begin"), ("network", "end"), ("packages", "begin"), ("packages", "failed"),
    ]  # fmt: skip
    failure = max(plane.reports, key=lambda each: each["at"])
    assert "missing: docker.io" in failure["log_tail"]
    assert plane.authorizations == {f"Bearer {TOKEN}"}
    assert TOKEN not in json.dumps(plane.reports)
    assert (home / "authorization").exists(), "what failed is tried again"


@pytest.mark.parametrize("line", ['a "quoted" \\ word', "tab\there", "\x00\x01\x1b[31mred", "caf\xe9", "'; $(id)"])
def test_any_log_becomes_valid_json(home: Path, line: str) -> None:
    (home / "log").write_bytes((line + "\n").encode("latin-1") * 2000)

    tail = json.loads(f'"{run("tail_as_json", home).stdout}"')

    assert tail.endswith("\n")
    assert len(tail) <= 4001


@pytest.mark.parametrize(
    ("system", "docker"),
    [("debian", "docker.io docker-cli docker-buildx docker-compose"), ("ubuntu", "docker.io docker-compose-v2")],
)
def test_docker_has_the_names_of_the_distribution(home: Path, bare_path: str, system: str, docker: str) -> None:
    missing = run("missing_packages", home, PATH=bare_path, ID=system).stdout

    assert f" {docker} haproxy " in missing
    assert "iptables e2fsprogs" in missing


def test_what_is_there_is_not_installed_again(home: Path, bare_path: str) -> None:
    for name in ("haproxy", "iptables", "mkfs.ext4", "resize2fs"):
        (Path(bare_path) / name).symlink_to("/bin/true")

    missing = run("missing_packages", home, PATH=bare_path, ID="debian").stdout

    assert not {"haproxy", "iptables", "e2fsprogs"} & set(missing.split())

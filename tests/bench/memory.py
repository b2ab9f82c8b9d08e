"""What each process holds at rest: proportional set size, so that shared pages are counted once in the sum."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from scripts import places, plane, supervisors
from tests.acceptance.installation import Installation

REST_SECONDS = 20
LIMITS_MB = {"total": 700, "agent": 60}


def measure(installation: Installation) -> dict[str, Any]:
    """Megabytes by program, after a rest; children count towards their program. Docker and the apps are left out."""
    time.sleep(REST_SECONDS)
    where = places.Places(installation.state)
    supervised = plane.supervisor_of(where)
    names = {pid: name for name, pid in supervised.pids().items()}
    names[int(supervised.pid_file.read_text())] = "supervisor"
    names[installation.process.pid] = "make up"
    names |= dict.fromkeys(supervisors.survivors(plane.route_mark(where)), "route proxy")
    found: dict[str, float] = {}
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        if name := _program(pid, names):
            _add(found, name, pid)
    found["total"] = sum(found.values())
    return {
        "what": f"proportional set size after {REST_SECONDS} s of rest, MB",
        "limits": LIMITS_MB,
        **{name: round(value, 1) for name, value in sorted(found.items())},
    }


def _add(found: dict[str, float], name: str, pid: int) -> None:
    with suppress(OSError):  # it ended while we looked
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        kilobytes = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        found[name] = found.get(name, 0.0) + kilobytes / 1024


def _program(pid: int, names: dict[int, str]) -> str:
    """The program that a process belongs to, by its nearest ancestor that has a name; empty for a stranger."""
    while pid > 1:
        if pid in names:
            return names[pid]
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return ""

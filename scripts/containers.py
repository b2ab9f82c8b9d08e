"""The containers, networks and mounts that the local node made for its environments, and no one else's."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from scripts import binaries, engines

LABEL = "sam.environment"
GRACE_SECONDS = 20
"""The most that an app gets to end by itself, however long it asks for: the whole stop has thirty seconds."""


def stop(environment_ids: Iterable[str]) -> None:
    """Stop what runs, each with the grace that it asks for, as far as ours goes. One that resists is killed."""
    running = {identifier: _grace(identifier) for identifier in _listed(environment_ids)}
    if running:
        with ThreadPoolExecutor(max_workers=min(16, len(running))) as pool:
            list(pool.map(lambda item: _stop(*item), running.items()))


def remove(environment_ids: Iterable[str]) -> None:
    """Remove containers and networks, for good."""
    ids = list(environment_ids)
    if found := _listed(ids, "--all"):
        _docker("rm", "--force", *found)
    for environment_id in ids:
        networks = _docker(
            "network", "ls", "-q", "--filter", f"label=com.docker.compose.project={_project(environment_id)}"
        )
        if networks.split():
            _docker("network", "rm", *networks.split())


def unmount(environment_ids: Iterable[str], root: Path = Path("/mnt")) -> None:
    """Take the environments' volumes off their places; what is in them stays where it is stored."""
    prefixes = tuple(f"{root}/sam-env-{environment_id}/" for environment_id in environment_ids)
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    for place in reversed([p for p in mounted if prefixes and p.startswith(prefixes)]):
        subprocess.run([binaries.find("umount"), place], capture_output=True, timeout=10)


def remove_mount_points(environment_ids: Iterable[str], root: Path = Path("/mnt")) -> None:
    """The empty directories that volumes were mounted on. What is not empty stays."""
    for environment_id in environment_ids:
        for directory, _, _ in os.walk(root / f"sam-env-{environment_id}", topdown=False):
            with suppress(OSError):
                Path(directory).rmdir()


def _project(environment_id: str) -> str:
    return f"sam-{environment_id.replace('-', '')[:12]}"


def _listed(environment_ids: Iterable[str], *flags: str) -> list[str]:
    """Container ids. One question for all: each costs a start of the docker command."""
    wanted = set(environment_ids)
    if not wanted:
        return []
    lines = _docker(
        "ps", *flags, "--no-trunc", "--filter", f"label={LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{LABEL}"}}}}'
    )
    pairs = (line.split(maxsplit=1) for line in lines.splitlines())
    return [pair[0] for pair in pairs if len(pair) == 2 and pair[1] in wanted]


def _grace(identifier: str) -> int:
    asked = _docker("inspect", "--format", "{{json .Config.StopTimeout}}", identifier).strip()
    return min(json.loads(asked or "null") or 10, GRACE_SECONDS)  # 10 is Docker's own default


def _stop(identifier: str, grace_seconds: int) -> None:
    try:
        _docker("stop", "--time", str(grace_seconds), identifier, seconds=grace_seconds + 3)
    except subprocess.TimeoutExpired:
        with suppress(subprocess.TimeoutExpired):
            _docker("kill", identifier, seconds=3)


def _docker(*words: str, seconds: float = 10) -> str:
    """What docker printed; an engine that is gone has nothing running, so its refusal counts as nothing."""
    argv = [binaries.find("docker"), "-H", engines.host(), *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=seconds).stdout

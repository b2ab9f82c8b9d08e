"""How long from an accepted release to a live one, beside `docker compose up -d --wait` of the same change."""

from __future__ import annotations

import base64
import json
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.acceptance.installation import Tenant
from tests.bench import apps

ROUNDS = 7
SETTLED = ("live", "failed", "superseded", "cancelled", "unknown")


def measure(tenant: Tenant, workplace: Path) -> dict[str, Any]:
    """Both ways from one version to the next, in turns, so that a slow moment of the machine hits both. Seconds."""
    login = tenant.credentials()
    bare = Bare(workplace, login)
    ours: list[tuple[float, float]] = []
    theirs: list[float] = []
    try:
        for number in range(ROUNDS + 1):
            ours.append(release(tenant, apps.push(tenant, login, "ours", f"v{number}")))
            theirs.append(bare.up(apps.push(tenant, login, "theirs", f"v{number}")))
    finally:
        bare.down()
    # The first of each makes networks and has nothing to replace: it is another question.
    live = [seconds for _, seconds in ours[1:]]
    return {
        "what": "from one version to the next, image in the registry",
        "rounds": ROUNDS,
        "picked_up_seconds": _spread([seconds for seconds, _ in ours[1:]]),
        "live_seconds": _spread(live),
        "compose_up_wait_seconds": _spread(theirs[1:]),
        "ratio": round(statistics.median(live) / statistics.median(theirs[1:]), 3),
        "first_release_seconds": round(ours[0][1], 3),
        "first_compose_up_seconds": round(theirs[0], 3),
    }


def release(tenant: Tenant, reference: str) -> tuple[float, float]:
    """Submit, and follow by long poll. Seconds from the acceptance until it was applying, and until it was live."""
    sequence = tenant.release(apps.COMPOSE.format(image=reference))
    accepted = time.monotonic()
    applying = 0.0
    while True:
        status = tenant.read(f"{tenant.path}/releases/{sequence}/?wait=60")["status"]
        if status == "applying" and not applying:
            applying = time.monotonic() - accepted
        if status in SETTLED:
            assert status == "live", f"release {sequence} is {status}"
            return applying, time.monotonic() - accepted


class Bare:
    """Compose by hand, in a directory of its own."""

    def __init__(self, workplace: Path, login: dict[str, Any]):
        self._directory = workplace / "bare"
        self._directory.mkdir()
        entry = base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()
        config = {"auths": {login["registry"]: {"auth": entry}}}
        (self._directory / "config.json").write_text(json.dumps(config))
        (self._directory / "config.json").chmod(0o600)

    def up(self, reference: str) -> float:
        """Seconds that `up -d --wait` takes, its pull included."""
        (self._directory / "compose.yaml").write_text(apps.COMPOSE.format(image=reference))
        began = time.monotonic()
        self._compose("up", "-d", "--wait", "--quiet-pull")
        return time.monotonic() - began

    def down(self) -> None:
        self._compose("down", "--timeout", "1", "--rmi", "all")

    def _compose(self, *words: str) -> None:
        argv = ["docker", "--config", str(self._directory), "compose", "-p", "sam-bench-bare", *words]
        subprocess.run(argv, cwd=self._directory, check=True, capture_output=True, timeout=120)


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }

"""The real `docker compose config`: what Compose itself makes of a file, and of our rendering of it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deployments.domain import manifest, references, renderer
from deployments.domain.compose.quantities import duration_in_nanoseconds
from deployments.domain.manifest import Manifest

ENVIRONMENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
DIGEST = "sha256:" + "0" * 64
# What must not matter: variables named like ours and like the author's, and Compose's own.
POISON = {
    "SAM_SECRET_99": "poison", "NAME": "poison", "HOME": "/poison", "IMAGE": "poison", "TIMEZONE": "poison",
    "COMPOSE_PROFILES": "poison", "COMPOSE_FILE": "/nowhere.yaml", "COMPOSE_PATH_SEPARATOR": "x",
    "COMPOSE_ENV_FILES": "/nowhere.env", "COMPOSE_CONVERT_WINDOWS_PATHS": "1",
    "DOCKER_DEFAULT_PLATFORM": "linux/poison",
}  # fmt: skip


def of_author(document: bytes, directory: Path, values: Mapping[str, str]) -> dict[str, Any]:
    """The author's own file under Compose, with the variables that the author would have set."""
    return _config(document, directory / "author", dict(values))


def of_rendering(found: Manifest, directory: Path, values: Mapping[str, str]) -> dict[str, Any]:
    """Our rendering under Compose, in a poisoned environment, beside a poisoned `.env`."""
    pinned = manifest.pin(found, dict.fromkeys(manifest.images(found).values(), DIGEST))
    rendered = renderer.render(pinned, environment_id=ENVIRONMENT_ID, sequence=1)
    resolved = {
        f"SAM_SECRET_{number}": references.resolve(each, values)
        for number, each in enumerate(references.expressions(found))
    }
    beside = directory / "rendered"
    beside.mkdir(exist_ok=True)
    (beside / ".env").write_text("".join(f"{name}=from-dot-env\n" for name in [*POISON, *values, *resolved]))
    return _config(rendered, beside, {**dict.fromkeys(values, "poison"), **POISON, **resolved})


def _config(document: bytes, directory: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    directory.mkdir(exist_ok=True)
    file = directory / "compose.yaml"
    file.write_bytes(document)
    done = subprocess.run(
        ["docker", "compose", "--env-file", "/dev/null", "-f", str(file), "config", "--format", "json"],
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, (done.stderr.decode(), document.decode())
    return dict(json.loads(done.stdout))


def comparable(service: Mapping[str, Any]) -> dict[str, Any]:
    """A service of `config`, reduced to what an author says and what both sides write in the same way.

    Ours on purpose, and therefore not compared: image (pinned), container_name, labels, hostname, restart, ports beyond
    their targets, sources of volumes, capabilities, security options, logging, memswap_limit, options of a tmpfs,
    defaults of memory and pids, dependencies' `restart` (only false is accepted), the network.
    """
    kept = {key: service.get(key) for key in ("command", "entrypoint", "user", "working_dir", "stop_signal", "init")}
    kept["environment"] = {
        name: None if value is None else value.replace("$$", "$")
        for name, value in service.get("environment", {}).items()
    }
    for key in ("command", "entrypoint"):
        kept[key] = None if kept[key] is None else [word.replace("$$", "$") for word in kept[key]]
    kept["read_only"] = service.get("read_only", False)
    kept["shm_size"] = int(service.get("shm_size", 0))
    kept["stop_grace_period"] = _nanoseconds(service.get("stop_grace_period"))
    kept["healthcheck"] = _healthcheck(service.get("healthcheck"))
    kept["depends_on"] = {
        name: (each["condition"], each.get("required", True)) for name, each in service.get("depends_on", {}).items()
    }
    mounts = service.get("volumes", [])
    kept["volumes"] = sorted((each["target"].rstrip("/"), each.get("read_only", False)) for each in mounts)
    tmpfs = service.get("tmpfs", [])
    kept["tmpfs"] = [path.partition(":")[0].rstrip("/") for path in ([tmpfs] if isinstance(tmpfs, str) else tmpfs)]
    limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
    kept["cpus"] = float(limits.get("cpus", 0))
    return kept


def limits(service: Mapping[str, Any]) -> dict[str, int]:
    found = service.get("deploy", {}).get("resources", {}).get("limits", {})
    return {key: int(found[key]) for key in ("memory", "pids") if key in found}


def _nanoseconds(written: str | None) -> int | None:
    return None if written is None else duration_in_nanoseconds(written)


def _healthcheck(check: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if check is None:
        return None
    kept = {key: _nanoseconds(check[key]) if key != "retries" else check[key] for key in _TIMINGS if key in check}
    test = ["NONE"] if check.get("disable") else check.get("test")
    kept["test"] = None if test is None else [word.replace("$$", "$") for word in test]
    return kept if any(value is not None for value in kept.values()) else None


_TIMINGS = ("interval", "timeout", "retries", "start_period", "start_interval")

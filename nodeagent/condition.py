"""`sam-node-agent status` and `doctor`: what the agent knows, and whether the machine has what it needs."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from . import __version__
from .client import Client, ClientError, Signer
from .store import Store, StoreError
from .wire import base64text, envelope
from .wire.decode import decode
from .wire.envelope import PAYLOAD_RECEIPT
from .wire.errors import WireError
from .wire.receipt import Receipt

MIN_FREE_BYTES = 1_000_000_000
MIN_COMPOSE = (2, 20)
COMMAND_SECONDS = 15
Result = Literal["ok", "warning", "failed"]


# Status


def status(store: Store) -> dict[str, Any]:
    """Who this node is and what it has, from the state directory alone. Raises StoreError."""
    node = store.node()
    if node is None:
        return {"enrolled": False, "agent_version": __version__, "waiting_for": str(store.root / "enrolment.json")}
    floor = store.floor()
    return {
        "enrolled": True,
        "agent_version": __version__,
        "node_id": node.node_id,
        "node_generation": node.node_generation,
        "control_url": node.control_url,
        "registry_hosts": list(node.registry_hosts),
        "keyset_version": store.keyset().version,
        "server_time": floor.server_time,
        "reports_waiting": len(list(store.spool.glob("*.events")) + list(store.spool.glob("*.receipt"))),
        "environments": {each: _environment(store, each) for each in _known(store)},
    }


def _known(store: Store) -> list[str]:
    return sorted({*store.environments(), *store.placements()})


def _environment(store: Store, environment_id: str) -> dict[str, Any]:
    floor = store.floor().of(environment_id)
    releases = store.releases(environment_id)
    return {
        "generation": store.placements().get(environment_id),
        "current_sequence": store.current(environment_id),
        "highest_sequence": floor.max_seen_seq,
        "unfinished": store.unfinished(environment_id),
        "last_outcome": _outcome(store, environment_id, releases[-1]) if releases else None,
    }


def _outcome(store: Store, environment_id: str, seq: int) -> dict[str, Any] | None:
    """The recorded outcome of a sequence, if its receipt is one of ours."""
    raw = store.receipt(environment_id, seq)
    if raw is None:
        return None
    public = bytes(store.keys()[0].verify_key)
    try:
        payload = envelope.open_envelope(raw, payload_type=PAYLOAD_RECEIPT, keys={envelope.keyid(public): public})
        receipt = decode(Receipt, payload)
    except WireError as error:
        return {"sequence": seq, "outcome": "unreadable", "code": error.code}
    return {"sequence": seq, "outcome": receipt.outcome, "code": receipt.code, "summary": receipt.summary}


# Doctor


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that the agent needs: how it is, and the cure where it is not as it should be."""

    name: str
    result: Result
    found: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the doctor looks at."""

    store: Store
    docker_host: str
    proxy_dir: Path | None


def examine(machine: Machine) -> Iterator[Check]:
    """Every check, one after the other; none raises, each is bounded in time."""
    for name, look in CHECKS.items():
        try:
            yield look(machine)
        except (OSError, subprocess.SubprocessError, StoreError, ClientError, WireError, ValueError) as error:
            yield Check(name, "failed", f"The check itself failed: {type(error).__name__}: {error}", "See above")


def _state_dir(machine: Machine) -> Check:
    root = machine.store.root
    if not root.is_dir():
        return Check("state", "failed", f"{root} is not there", f"mkdir -m 0700 {root}, or start the agent once")
    mode = stat.S_IMODE(root.stat().st_mode)
    if mode & 0o077:
        return Check("state", "failed", f"{root} is open to others (mode {mode:04o})", f"chmod 0700 {root}")
    return Check("state", "ok", f"{root}, mode {mode:04o}")


def _identity(machine: Machine) -> Check:
    node = machine.store.node()
    if node is None:
        cure = "Put enrolment.json there, or run `sam-node-agent enrol`"
        return Check("identity", "warning", "This node is not enrolled", cure)
    machine.store.keys()
    return Check("identity", "ok", f"node {node.node_id}, generation {node.node_generation}")


def _docker(machine: Machine) -> Check:
    cure = f"Start the Docker Engine, or give its address with --docker-host (now {machine.docker_host})"
    done = _run("docker", "--host", machine.docker_host, "version", "--format", "{{.Server.Version}}")
    if done is None:
        return Check("docker", "failed", "There is no `docker` command, or it hangs", "Install Docker's command line")
    if done.returncode != 0:
        return Check("docker", "failed", "No Engine answers", cure)
    return Check("docker", "ok", f"Engine {done.stdout.strip()}")


def _compose(machine: Machine) -> Check:
    cure = "Install the Compose v2 plugin (docker-compose-v2 or docker-compose-plugin); version 1 will not do"
    done = _run("docker", "compose", "version", "--short")
    if done is None or done.returncode != 0:
        return Check("compose", "failed", "`docker compose version` does not answer", cure)
    version = done.stdout.strip().removeprefix("v")
    parts = version.split("-")[0].split(".")
    if not all(part.isdigit() for part in parts[:2]) or tuple(map(int, parts[:2])) < MIN_COMPOSE:
        return Check("compose", "failed", f"Compose {version} is too old", cure)
    return Check("compose", "ok", f"Compose {version}")


def _haproxy(machine: Machine) -> Check:
    done = _run(shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") or "haproxy", "-v")
    if done is None:
        return Check("haproxy", "failed", "haproxy is not installed", "Install the package haproxy")
    first = done.stdout.splitlines()[0] if done.stdout else "haproxy"
    if machine.proxy_dir is not None and not (machine.proxy_dir / "haproxy.cfg").exists():
        cure = f"Run `python -m nodeagent.routes init --proxy-dir {machine.proxy_dir} --ports FROM-TO`"
        return Check("haproxy", "warning", f"{machine.proxy_dir} has no configuration yet", cure)
    return Check("haproxy", "ok", first)


def _clock(machine: Machine) -> Check:
    behind = machine.store.floor().server_time - int(time.time())
    if behind > 0:
        cure = "Set the clock, and let it be kept (systemd-timesyncd or chrony)"
        return Check("clock", "failed", f"It is {behind} s behind a time that the control plane signed", cure)
    return Check("clock", "ok", "not behind the control plane's highest signed time")


def _disk(machine: Machine) -> Check:
    free = shutil.disk_usage(machine.store.root).free
    if free < MIN_FREE_BYTES:
        return Check(
            "disk", "warning", f"{free // 10**6} MB are free", "Make room: images need it, and so does the agent"
        )
    return Check("disk", "ok", f"{free // 10**9} GB are free")


def _control_plane(machine: Machine) -> Check:
    node = machine.store.node()
    if node is None:
        return Check("control plane", "warning", "not asked: this node is not enrolled", "Enrol it")
    signing_key, _ = machine.store.keys()
    client = Client(node.control_url, ca=node.ca, signer=Signer(signing_key, node.node_id, node.node_generation))
    try:
        client.keyset(machine.store.keyset().version)
    except ClientError as error:
        cure = {
            401: "Set the clock; if it is right, the control plane knows another key: replace the node",
            403: "The control plane has shut this node out: replace the node",
        }.get(error.status, "Look at the network, the name and the CA; the agent goes on trying meanwhile")
        return Check("control plane", "failed", str(error), cure)
    return Check("control plane", "ok", f"{node.control_url} knows this node")


def _keyset(machine: Machine) -> Check:
    if not machine.store.has_keyset():
        return Check("keyset", "warning", "No keyset is pinned yet", "Enrol the node")
    keyset = machine.store.keyset()
    envelope_path = machine.store.root / "keysets" / f"{keyset.version}.json"
    kept = "its envelope is kept" if envelope_path.exists() else "its envelope is not kept"
    names = ", ".join(sorted(envelope.keyid(base64text.to_bytes(key)) for key in keyset.keys.values()))
    return Check("keyset", "ok", f"version {keyset.version}, release keys {names}; {kept}")


CHECKS: dict[str, Callable[[Machine], Check]] = {
    "state": _state_dir,
    "identity": _identity,
    "keyset": _keyset,
    "docker": _docker,
    "compose": _compose,
    "haproxy": _haproxy,
    "clock": _clock,
    "disk": _disk,
    "control plane": _control_plane,
}


def _run(*argv: str) -> subprocess.CompletedProcess[str] | None:
    """The finished command; None if there is no such program or it took too long."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return None


def as_json(checks: list[Check]) -> str:
    """All checks as one object."""
    return json.dumps({"ok": not any(each.result == "failed" for each in checks), "checks": [*map(asdict, checks)]})

"""Cloud-init user data that makes a fresh Debian 12, Debian 13 or Ubuntu 24.04 machine an enrolled node. Pure.

The user data leaves a directory with what the bootstrap needs, and starts it as a service at each boot until the
machine is a node, so that one that loses power half way goes on. It starts as soon as the files are there, while
cloud-init goes on with what a node does not need. The script itself is the same for every node: bootstrap.sh, beside
this module.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

MAX_USER_DATA_BYTES = 32 * 1024
"""Of UTF-8. The least that a provider documents, kept everywhere."""

PHASES = ("network", "packages", "agent", "metadata", "units", "enrol")
"""In their order. `metadata` is hardening: its failure is told, and does not end the boot."""

DIRECTORY = "/var/lib/sam-boot"
_SERVICE = "sam-boot.service"
_BOOTSTRAP = Path(__file__).with_name("bootstrap.sh").read_text(encoding="utf-8")
_UNIT = f"""\
[Unit]
Description=Makes this machine a SAM node
ConditionPathExists={DIRECTORY}/boot.sh
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh {DIRECTORY}/boot.sh
Restart=on-failure
RestartSec=20
TimeoutStartSec=3600
"""
_START = f"[ ! -e {DIRECTORY}/boot.sh ] || exec systemctl start --no-block {_SERVICE}"
# bootcmd runs at every boot, and before write_files: so it leaves a unit that waits for the stage that writes them,
# under both names that this stage has had.
_AT_BOOT = (
    "systemd-run", "--no-block", "--collect", "--unit=sam-start", "--property=Type=oneshot",
    "--property=After=cloud-init.service", "--property=After=cloud-init-network.service", "/bin/sh", "-c", _START,
)  # fmt: skip
# Where that did not come to pass. A machine that is a node by then needs no start.
_AT_LAST = ("/bin/sh", "-c", f"[ -e /var/lib/sam/identity/node.json ] || {_START}")


class UserDataTooLarge(ValueError):
    """What is carried leaves no place for it; only the certificates can be that long."""

    code = "node.user_data"

    def __init__(self, size_bytes: int):
        self.size_bytes = size_bytes

    def __str__(self) -> str:
        return (
            f"The user data of a node would have {self.size_bytes} bytes, of at most {MAX_USER_DATA_BYTES}. "
            "Give SAM_CA_FILE and SAM_REGISTRY_CA_FILE the root certificates alone."
        )


@dataclass(frozen=True, slots=True)
class Boot:
    """What a machine is told to become.

    `control_url` and `registry_host` are as the machine reaches them; `ca` and `registry_ca` are PEM, or None where
    public authorities vouch for them. `token` is used once, by the enrolment. `keyset` is the base64 of the pinned
    keyset's envelope. `agent_sha256` are the hex digits of the agent's bundle.
    """

    control_url: str
    token: str = field(repr=False)
    keyset: str
    agent_sha256: str
    registry_host: str
    role: str
    environment_id: str
    ca: str | None = None
    registry_ca: str | None = None


def user_data(boot: Boot) -> str:
    """The `#cloud-config` document. Equal values give equal text. Raises UserDataTooLarge."""
    text = _cloud_config(_files(boot))
    size_bytes = len(text.encode())
    if size_bytes > MAX_USER_DATA_BYTES:
        raise UserDataTooLarge(size_bytes)
    return text


def _files(boot: Boot) -> Mapping[str, str]:
    enrolment = {"control_url": boot.control_url, "token": boot.token, "keyset": boot.keyset, "ca": boot.ca}
    files = {
        f"{DIRECTORY}/settings": _settings(boot),
        # A file for curl's --header, since what stands in arguments is for everybody on the machine to read.
        f"{DIRECTORY}/authorization": f"Authorization: Bearer {boot.token}\n",
        f"{DIRECTORY}/enrolment.json": json.dumps(enrolment) + "\n",
        f"{DIRECTORY}/control-ca.pem": boot.ca,
        f"{DIRECTORY}/registry-ca.pem": boot.registry_ca,
        f"{DIRECTORY}/boot.sh": _BOOTSTRAP,
        f"/etc/systemd/system/{_SERVICE}": _UNIT,
    }
    return {path: content for path, content in files.items() if content is not None}


def _settings(boot: Boot) -> str:
    """Assignments that the script reads, each value quoted for the shell."""
    values = {
        "CONTROL_URL": boot.control_url.rstrip("/"),
        "AGENT_SHA256": boot.agent_sha256,
        "REGISTRY_HOST": boot.registry_host,
        "NODE_ROLE": boot.role,
        "NODE_ENVIRONMENT": boot.environment_id,
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


def _cloud_config(files: Mapping[str, str]) -> str:
    """YAML by hand: literal blocks, which a person can read on the machine, and no library's taste in line breaks."""
    written = "".join(_file(path, content) for path, content in files.items())
    commands = f"bootcmd:\n- {json.dumps(_AT_BOOT)}\nruncmd:\n- {json.dumps(_AT_LAST)}\n"
    return f"#cloud-config\nwrite_files:\n{written}{commands}"


def _file(path: str, content: str) -> str:
    mode = "0644" if path.endswith(".service") else "0600"
    body = "".join(f"    {line}\n" if line else "\n" for line in content.rstrip("\n").split("\n"))
    return f"- path: {path}\n  permissions: '{mode}'\n  content: |\n{body}"

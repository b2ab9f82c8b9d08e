"""Where one checkout keeps what it runs: everything below .sam/, and nothing of it in the repository."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
PYTHON = CHECKOUT / ".venv/bin/python"
SOCKET_PATH_LIMIT = 80
"""A unix socket's path ends at 107 bytes (unix(7)), and servers bind a longer temporary name first."""


@dataclass(frozen=True, slots=True)
class Places:
    """The state directory and what lies in it."""

    state: Path

    @property
    def ports(self) -> Path:
        return self.state / "ports.json"

    @property
    def settings(self) -> Path:
        """KEY=VALUE lines that manage.py and every process of the control plane read as defaults."""
        return self.state / "settings.env"

    @property
    def up(self) -> Path:
        return self.state / "up.json"

    @property
    def sample(self) -> Path:
        """What the walk's project keeps from one run to the next: its token."""
        return self.state / "sample.json"

    @property
    def lock(self) -> Path:
        """Held by the one program that starts or stops; its pid is in it."""
        return self.state / "up.lock"

    @property
    def run(self) -> Path:
        """Configurations and pid files, written anew at each start."""
        return self.state / "run"

    @property
    def logs(self) -> Path:
        return self.state / "log"

    @property
    def cluster(self) -> Path:
        return self.state / "postgres"

    @property
    def registry(self) -> Path:
        return self.state / "registry"

    @property
    def node(self) -> Path:
        """The local node's state, as /var/lib/sam is on a rented one."""
        return self.state / "node"

    @property
    def volumes(self) -> Path:
        return self.state / "volumes"

    @property
    def static(self) -> Path:
        """Where collected static files would be; the web process warns if there is no such directory."""
        return self.state / "static"

    @property
    def sockets(self) -> Path:
        """Where unix sockets go: in the state directory, or beside it where that path is too long for them."""
        if len(str(self.run)) <= SOCKET_PATH_LIMIT - len("/supervisor.sock"):
            return self.run
        name = hashlib.sha256(str(self.state).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"sam-{os.geteuid()}-{name}"

    @property
    def proxy(self) -> Path:
        """The route proxy's own directory: its sockets are in it, so it moves with them."""
        near = self.state / "proxy"
        return near if self.sockets == self.run else self.sockets / "proxy"

    def make(self) -> None:
        """The directories, each for its owner alone, but that others pass through to what is theirs."""
        self.state.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o711)  # PostgreSQL runs as another account, and reaches its own directory in here
        for directory in (
            self.run,
            self.logs,
            self.registry,
            self.node,
            self.volumes,
            self.static,
            self.sockets,
            self.proxy,
        ):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)


def here() -> Places:
    """Those of this checkout, or what SAM_STATE_DIR says."""
    return Places(Path(os.environ.get("SAM_STATE_DIR") or CHECKOUT / ".sam").absolute())


def write_privately(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only: whoever reads sees the old text or the new."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as new:
        new.write(text)
        new.flush()
        os.fsync(new.fileno())
    Path(new.name).replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file; an empty one if there is no such file."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no JSON object. Remove it, and run this again.")
    return content

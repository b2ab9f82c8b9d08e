"""Real virtual machines for the contract: without a guest, since the contract is about machines and disks."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from providers.errors import ProviderError
from providers.qemu import LOCATION, QemuProvider
from providers.testing.harnesses import INSTALLATION, Cloud, Harness, Kept


class QemuHarness(Harness):
    location, other_location = LOCATION, "elsewhere"
    size, other_size = "small", "medium"

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root
        blank = root / "blank.raw"
        # Its firmware finds nothing to boot, and halts.
        with blank.open("wb") as file:
            file.truncate(1024 * 1024)
        self.provider: QemuProvider = QemuProvider({"directory": str(root / "machines"), "image": str(blank)})

    def cloud(self) -> Cloud:
        servers = self.provider.list_servers(installation=INSTALLATION)
        volumes = self.provider.list_volumes(installation=INSTALLATION)
        return Cloud(
            {server.id: Kept(server.key.labels() if server.key else {}, server.location) for server in servers},
            {
                volume.id: Kept(
                    volume.key.labels() if volume.key else {}, volume.location, volume.size_gb,
                    (volume.server_id,) if volume.server_id else (),
                )
                for volume in volumes
            },
        )  # fmt: skip

    def advance(self, polls: int = 1) -> None:
        """Time passes by itself here."""

    def cut_power(self, server_id: str) -> None:
        os.kill(self.pid(server_id), signal.SIGKILL)

    def pid(self, server_id: str) -> int:
        return int((self.root / "machines" / "servers" / server_id / "pid").read_text())

    def close(self) -> None:
        """End every machine that a test left running."""
        for path in (self.root / "machines" / "servers").glob("v*"):
            with contextlib.suppress(ProviderError):
                self.provider.delete_server(path.name)

"""The same suite against a real account: opt in by the environment, pay for what it makes.

`SAM_LIVE_PROVIDER` is the slug's class (`providers.hetzner.HetznerProvider`), `SAM_LIVE_CREDENTIALS` the JSON object of
its credentials, `SAM_LIVE_OPTIONS` one of its options, `SAM_LIVE_PLACE` "LOCATION OTHER_LOCATION SIZE OTHER_SIZE". What
it makes carries an installation of its own, and is given back after each test; look at the console all the same.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Mapping

from providers.ports import Operation, Server, Volume
from providers.testing.harnesses import INSTALLATION, Cloud, Harness, Kept

VARIABLE = "SAM_LIVE_PROVIDER"
_SETTLE_SECONDS = 900


class LiveHarness(Harness):
    """Waits for real, and sees the cloud through the provider alone."""

    location = other_location = size = other_size = ""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        super().__init__()
        module, _, name = environment[VARIABLE].rpartition(".")
        options = json.loads(environment.get("SAM_LIVE_OPTIONS", "{}"))
        credentials = json.loads(environment["SAM_LIVE_CREDENTIALS"])
        self.provider = getattr(importlib.import_module(module), name)(options, credentials)
        place = environment["SAM_LIVE_PLACE"].split()
        self.location, self.other_location, self.size, self.other_size = place  # type: ignore[misc]

    def cloud(self) -> Cloud:
        servers = self.provider.list_servers(installation=INSTALLATION)
        volumes = self.provider.list_volumes(installation=INSTALLATION)
        return Cloud(
            {server.id: Kept(_labels(server), server.location) for server in servers},
            {
                volume.id: Kept(
                    _labels(volume), volume.location, volume.size_gb, (volume.server_id,) if volume.server_id else ()
                )
                for volume in volumes
            },
        )

    def advance(self, polls: int = 1) -> None:
        time.sleep(min(polls, 5))

    def settle(self, op: Operation | None) -> None:
        until = time.monotonic() + _SETTLE_SECONDS
        while op is not None:
            if time.monotonic() > until:
                raise AssertionError(f"still pending after {_SETTLE_SECONDS} s: {op}")
            time.sleep(op.poll_after_s)
            op = self.provider.poll(op)

    def close(self) -> None:
        """Give back what the test made, also when it failed."""
        for server in self.provider.list_servers(installation=INSTALLATION):
            self.settle(self.provider.delete_server(server.id))
        for volume in self.provider.list_volumes(installation=INSTALLATION):
            self.settle(self.provider.detach_volume(volume.id).pending)
            self.settle(self.provider.delete_volume(volume.id))


def _labels(resource: Server | Volume) -> dict[str, str]:
    return resource.key.labels() if resource.key else {}

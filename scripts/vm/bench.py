"""Boot to enrolled, beside the barest machine that calls home: `python -m scripts.vm.bench` (ARGS of `make vm-bench`).

The bare one is the same image and size with five lines of user data: one call with curl from cloud-init's last stage.
Both are booted in turn by the `qemu` provider; a time runs from asking the provider to the answer at home. Prints each
time and the medians' ratio, and writes them as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import statistics
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from providers.ports import ResourceKey, ServerSpec
from providers.qemu import LOCATION, QemuProvider
from scripts import clocks, places
from scripts.vm import demo
from scripts.vm.demo import SIZE, DemoError, Plane, wait_for

BOOT_SECONDS = 600
MAX_RATIO = 1.2
HOST_AS_GUESTS_SEE_IT = "10.0.2.2"
BARE = """\
#cloud-config
runcmd:
- [curl, --silent, --show-error, --retry, "5", --retry-connrefused, "http://{host}:{port}/home"]
"""


class Home:
    """Where the bare machine calls: a server on a port of its own that remembers when it was asked."""

    def __init__(self) -> None:
        self.called = threading.Event()
        called = self.called

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                called.set()
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
                """Quiet: the time is what counts."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def bare_seconds(provider: QemuProvider) -> float:
    """Boot a machine that does nothing but call. Raises DemoError."""
    home = Home()
    key = ResourceKey("bench", "bare", f"node-{time.monotonic_ns()}")
    began = time.monotonic()
    user_data = BARE.format(host=HOST_AS_GUESTS_SEE_IT, port=home.port)
    server = provider.create_server(ServerSpec(key, LOCATION, SIZE, "", user_data)).value
    try:
        if not home.called.wait(BOOT_SECONDS):
            raise DemoError("the bare machine did not call")
        return time.monotonic() - began
    finally:
        provider.delete_server(server.id)
        home.close()


def enrolled_seconds(plane: Plane, provider: QemuProvider, path: str) -> float:
    """Boot a node as a first release does, by the services that it uses. Raises DemoError."""
    plane.manage("environment", "create", path, "--account", "qemu", "--size", SIZE)
    from django.db import close_old_connections

    from deployments.models import Node
    from deployments.services import environments, placements

    environment = environments.named(path)
    node = placements.ensure(environment.pk)
    began = time.monotonic()
    placements.drive(environment, node)

    def is_enrolled() -> bool:
        close_old_connections()
        return Node.objects.get(pk=node.pk).state in ("enrolled", "ready")

    wait_for(is_enrolled, "the node", BOOT_SECONDS, pause_seconds=0.1)
    seconds = time.monotonic() - began
    provider.delete_server(Node.objects.get(pk=node.pk).server_id)
    return seconds


def main(argv: list[str] | None = None) -> int:
    """0 if the ratio is within its bound, 1 if not."""
    parser = argparse.ArgumentParser(prog="make vm-bench", description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=places.CHECKOUT / ".sam" / "vm-demo")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the times go")
    options = parser.parse_args(argv)
    clock = clocks.Clock("vm-bench")
    with demo.prepared(options.state_dir.absolute(), clock) as (plane, provider):
        os.environ.update(plane.environment, DJANGO_SETTINGS_MODULE="sam_project.settings")
        import django

        django.setup()
        project = f"bench-{secrets.token_hex(3)}"
        plane.manage("project", "create", project)
        bare, ours = [], []
        for number in range(options.times):
            bare.append(bare_seconds(provider))
            clock.tell(f"bare machine called home after {bare[-1]:.1f} s")
            ours.append(enrolled_seconds(plane, provider, f"{project}/n{number}"))
            clock.tell(f"node enrolled after {ours[-1]:.1f} s")
    ratio = statistics.median(ours) / statistics.median(bare)
    times = {"bare_seconds": bare, "enrolled_seconds": ours, "ratio": round(ratio, 3), "bound": MAX_RATIO}
    print(f"vm-bench: medians {statistics.median(ours):.1f} s / {statistics.median(bare):.1f} s = {ratio:.2f}")
    if options.json:
        options.json.write_text(json.dumps(times, indent=1) + "\n")
    return 0 if ratio <= MAX_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())

"""Serve a stand-in of a cloud until interrupted: `python -m providers.testing hetzner|scaleway`.

Prints one JSON object, `{"api_url", "credentials"}`, as `provider_account create` wants them.
"""

from __future__ import annotations

import json
import signal
import sys
import threading

from providers.testing import fake_hetzner, fake_scaleway


def main(argv: list[str]) -> int:
    """Exit status 2 for anything but the name of a stand-in."""
    if argv == ["hetzner"]:
        fake: fake_hetzner.FakeHetzner | fake_scaleway.FakeScaleway = fake_hetzner.FakeHetzner()
        credentials = {"token": fake_hetzner.TOKEN}
    elif argv == ["scaleway"]:
        fake = fake_scaleway.FakeScaleway()
        credentials = {
            "access_key": fake_scaleway.ACCESS_KEY,
            "secret_key": fake_scaleway.SECRET_KEY,
            "project_id": fake_scaleway.PROJECT_ID,
        }
    else:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    sys.stdout.write(json.dumps({"api_url": fake.api_url, "credentials": credentials}) + "\n")
    sys.stdout.flush()
    ended.wait()
    fake.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The install script on this machine, which has everything."""

from __future__ import annotations

import os
import subprocess
import time

from scripts import places


def install(**environment: str) -> subprocess.CompletedProcess[str]:
    script = places.CHECKOUT / "scripts/install.sh"
    inherited = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
    return subprocess.run([script], capture_output=True, text=True, timeout=60, env=inherited | environment)


def test_a_machine_with_everything_is_told_what_was_found_and_nothing_is_installed() -> None:
    told = install()
    assert told.returncode == 0
    assert "found postgresql" in told.stdout
    assert "apt-get" not in told.stdout


def test_looking_takes_less_than_half_a_second() -> None:
    began = time.monotonic()
    install()
    assert time.monotonic() - began < 0.5 * _slowness()


def test_a_server_that_the_environment_names_is_not_looked_for() -> None:
    told = install(DATABASE_URL="postgres://sam@127.0.0.1/sam", REDIS_URL="redis://127.0.0.1")
    assert "postgresql" not in told.stdout
    assert "redis" not in told.stdout


def _slowness() -> float:
    """How much more than one core this machine is asked for now: a promise about time is one about an idle machine."""
    return max(1.0, os.getloadavg()[0])

"""The contract on a real account where one is given; on a stand-in, the way there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.ports import ServerState, VolumeState
from providers.testing.contract import ProviderContract
from providers.testing.live import VARIABLE, LiveHarness

ROOT = Path(__file__).resolve().parents[3]

if VARIABLE in os.environ:

    class TestLive(ProviderContract):
        @pytest.fixture
        def harness(self) -> Iterator[LiveHarness]:
            harness = LiveHarness()
            yield harness
            harness.close()


@pytest.mark.parametrize(
    ("cloud", "provider", "place"),
    [
        ("hetzner", "providers.hetzner.HetznerProvider", "nbg1 fsn1 cx23 cx33"),
        ("scaleway", "providers.scaleway.ScalewayProvider", "fr-par-1 nl-ams-1 DEV1-S DEV1-M"),
    ],
)
def test_a_stand_in_in_a_process_of_its_own_is_used_like_a_real_account(cloud: str, provider: str, place: str) -> None:
    argv = [sys.executable, "-m", "providers.testing", cloud]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            told = json.loads(served.stdout.readline())
            harness = LiveHarness(
                {
                    VARIABLE: provider,
                    "SAM_LIVE_CREDENTIALS": json.dumps(told["credentials"]),
                    "SAM_LIVE_OPTIONS": json.dumps({"api_url": told["api_url"], "poll_seconds": "0.01"}),
                    "SAM_LIVE_PLACE": place,
                }
            )
            volume, server = harness.attached()
            assert (volume.state, server.state) == (VolumeState.ATTACHED, ServerState.RUNNING)
            harness.close()
            assert harness.cloud().servers == harness.cloud().volumes == {}
        finally:
            served.send_signal(signal.SIGTERM)
            assert served.wait(timeout=10) == 0

"""Virtual machines as a provider keep the contract, and what only a machine with a power switch can show."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from providers.errors import InvalidRequest, PreconditionFailed
from providers.ports import ServerState, VolumeState
from providers.qemu import QemuProvider
from providers.testing.contract import ProviderContract
from providers.testing.qemu_harness import QemuHarness

needs_qemu = pytest.mark.skipif(
    shutil.which("qemu-system-x86_64") is None and not os.environ.get("CI"),
    reason="qemu-system-x86_64 is not on this machine; scripts/install.sh --tests installs it",
)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[QemuHarness]:
    made = QemuHarness(tmp_path)
    try:
        yield made
    finally:
        made.close()


@needs_qemu
class TestQemu(ProviderContract):
    """The contract, on real processes and real disks."""


@needs_qemu
class TestPower:
    def test_a_server_is_a_process_that_is_nobodys_child_and_has_none_of_our_environment(
        self, harness: QemuHarness, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SAM_KEK", "a-key-that-no-machine-may-have")
        pid = harness.pid(harness.server().id)

        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert int(fields[1]) != os.getpid()
        assert b"a-key-that-no-machine-may-have" not in Path(f"/proc/{pid}/environ").read_bytes()

    def test_after_a_power_cut_a_server_is_off_and_comes_back_with_its_volumes(self, harness: QemuHarness) -> None:
        volume, server = harness.attached()
        harness.cut_power(server.id)
        wait_until(lambda: harness.provider.get_server(server.id).state is ServerState.STOPPED)

        again = harness.provider.power_on(server.id)

        assert (again.state, again.attached_volume_ids) == (ServerState.RUNNING, (volume.id,))
        harness.settle(harness.provider.detach_volume(volume.id).pending)
        assert harness.provider.get_volume(volume.id).state is VolumeState.AVAILABLE

    def test_asking_for_a_server_that_is_off_switches_the_same_one_on(self, harness: QemuHarness) -> None:
        server = harness.server()
        harness.cut_power(server.id)
        wait_until(lambda: harness.provider.get_server(server.id).state is ServerState.STOPPED)

        assert harness.server().id == server.id
        assert harness.provider.get_server(server.id).state is ServerState.RUNNING

    def test_a_volume_is_attached_and_grown_while_its_server_is_off(self, harness: QemuHarness) -> None:
        server, volume = harness.server(), harness.volume()
        harness.cut_power(server.id)
        wait_until(lambda: harness.provider.get_server(server.id).state is ServerState.STOPPED)

        harness.provider.attach_volume(volume.id, server.id)
        harness.provider.resize_volume(volume.id, 7)

        assert harness.provider.power_on(server.id).attached_volume_ids == (volume.id,)
        assert (harness.root / "machines" / "volumes" / volume.id / "disk.raw").stat().st_size == 7 * 10**9

    def test_what_is_in_a_volume_outlives_every_server(self, harness: QemuHarness) -> None:
        volume, server = harness.attached()
        disk = harness.root / "machines" / "volumes" / volume.id / "disk.raw"
        harness.provider.delete_server(server.id)
        with disk.open("r+b") as file:
            file.write(b"kept")

        harness.provider.attach_volume(volume.id, harness.server().id)

        assert disk.read_bytes()[:4] == b"kept"

    def test_servers_have_ports_of_their_own_and_the_seed_says_which(self, harness: QemuHarness) -> None:
        first, second = harness.server(), harness.server("other")

        ports = [self._record(harness, server.id)["ports"] for server in (first, second)]

        assert not set(ports[0]) & set(ports[1])
        seed = (harness.root / "machines" / "servers" / first.id / "seed.iso").read_bytes()
        assert f"{ports[0][0]}-{ports[0][-1]}".encode() in seed
        assert b"one-time-secret" in seed

    def test_the_seed_is_for_its_owner_alone(self, harness: QemuHarness) -> None:
        place = harness.root / "machines" / "servers" / harness.server().id

        assert (place.stat().st_mode & 0o777, (place / "seed.iso").stat().st_mode & 0o777) == (0o700, 0o600)
        assert not list(place.glob("user-data"))

    def _record(self, harness: QemuHarness, server_id: str) -> dict[str, list[int]]:
        return dict(json.loads((harness.root / "machines" / "servers" / server_id / "record.json").read_text()))


def test_an_image_that_is_not_there_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    provider = QemuProvider({"directory": str(tmp_path), "image": str(tmp_path / "none")})
    harness = QemuHarness(tmp_path / "for-specs") if (tmp_path / "for-specs").mkdir() is None else None
    assert harness is not None

    with pytest.raises(InvalidRequest) as refused:
        provider.create_server(harness.server_spec())

    assert "image" in refused.value.fields
    assert provider.list_servers(installation=harness.key().installation) == []


def test_a_machine_without_qemu_says_which_package_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness = QemuHarness(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(PreconditionFailed, match="Install the package qemu"):
        harness.server()
    assert "failed" in {finding.verdict for finding in harness.provider.check()}


def wait_until(condition: Callable[[], bool], seconds: float = 5) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)

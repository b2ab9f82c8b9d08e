"""A block device is used only where it is positively the right one, and formatted only where it is positively blank."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from nodeagent import devices
from nodeagent.devices import Device
from nodeagent.faults import ApplyError

ENVIRONMENT = "9a1d4c1e-7b7f-4a39-8f57-2f1b0e6d7c8b"
MEGABYTES = 32 * 1024 * 1024
CAP_SYS_RESOURCE = 24


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A file stands for the device: mkfs and blkid look at bytes, and do not care."""
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(MEGABYTES)
    return path


@pytest.fixture
def device(disk: Path) -> Device:
    return Device("vol-1", disk, "vol-1", MEGABYTES, "ext4")


def kind_of(disk: Path) -> str:
    said = subprocess.run(["/sbin/blkid", "-p", "-o", "value", "-s", "TYPE", str(disk)], capture_output=True, text=True)
    return said.stdout.strip()


def refusal(disk: Path, device: Device) -> str:
    before = disk.read_bytes()
    with pytest.raises(ApplyError) as refused:
        devices.ensure_file_system(str(disk), device, ENVIRONMENT)
    assert disk.read_bytes() == before, "something was written to what was refused"
    return refused.value.code


def may_resize() -> bool:
    status = Path("/proc/self/status").read_text()
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective, 16) >> CAP_SYS_RESOURCE & 1)


class TestFormatting:
    def test_a_blank_device_gets_a_file_system_that_is_known_again(self, disk: Path, device: Device) -> None:
        devices.ensure_file_system(str(disk), device, ENVIRONMENT)

        assert kind_of(disk) == "ext4"
        assert devices.has_our_file_system(str(disk), device, ENVIRONMENT)
        assert not devices.has_our_file_system(str(disk), replace(device, volume_id="vol-2"), ENVIRONMENT)

    def test_one_that_has_a_file_system_keeps_it_whatever_the_order_says(self, disk: Path, device: Device) -> None:
        devices.ensure_file_system(str(disk), device, ENVIRONMENT)
        before = disk.read_bytes()

        devices.ensure_file_system(str(disk), device, ENVIRONMENT)

        assert disk.read_bytes() == before

    def test_a_blank_device_is_not_formatted_where_the_order_says_never(self, disk: Path, device: Device) -> None:
        """The control plane knows that there was content: a blank disk is a loss, not a beginning."""
        assert refusal(disk, replace(device, format=None)) == "volume.blank"

    @pytest.mark.parametrize("place", [0, 3 * 1024 * 1024, MEGABYTES - 1])
    def test_bytes_without_a_signature_are_somebodys_data(self, disk: Path, device: Device, place: int) -> None:
        with disk.open("r+b") as file:
            file.seek(place)
            file.write(b"x")

        assert refusal(disk, device) == "volume.foreign"

    def test_another_file_system_is_left_alone(self, disk: Path, device: Device) -> None:
        subprocess.run(["/sbin/mkswap", str(disk)], check=True, capture_output=True)

        assert refusal(disk, device) == "volume.foreign"

    def test_a_disk_much_larger_than_ordered_is_another_disk(self, disk: Path, device: Device) -> None:
        assert refusal(disk, replace(device, size_bytes=MEGABYTES // 2)) == "volume.size"

    def test_a_device_that_is_gone_is_not_blank(self, disk: Path, device: Device) -> None:
        """blkid ends with the same 2 for "nothing found" and for "nothing there": whole disks were lost by that."""
        disk.unlink()

        with pytest.raises(ApplyError) as refused:
            devices.ensure_file_system(str(disk), device, ENVIRONMENT)

        assert refused.value.code == "volume.unreadable"
        assert not disk.exists()


class TestFinding:
    def test_a_device_that_does_not_appear_is_missing_and_time_may_help(self, device: Device, tmp_path: Path) -> None:
        with pytest.raises(ApplyError) as refused:
            devices.find(replace(device, path=tmp_path / "never"), wait_seconds=0)

        assert (refused.value.code, refused.value.retryable) == ("volume.missing", True)

    def test_a_file_is_no_device(self, device: Device) -> None:
        with pytest.raises(ApplyError) as refused:
            devices.find(device, wait_seconds=0)

        assert refused.value.code == "volume.other"

    @pytest.mark.parametrize(
        ("found", "wanted", "is_it"),
        [
            ("vol-1", "vol-1", True),
            ("0QEMU_QEMU_HARDDISK_vol-1", "vol-1", True),
            ("0HC_Volume_4711", "4711", True),
            ("0SCW_sbs_volume-1c5b", "1c5b", True),
            ("0HC_Volume_14711", "4711", False),
            ("vol-12", "vol-1", False),
            ("", "vol-1", False),
        ],
    )
    def test_a_serial_number_is_the_end_of_what_udev_says_and_all_of_it(
        self, found: str, wanted: str, is_it: bool
    ) -> None:
        assert devices._is_serial(found, wanted) is is_it

    def test_a_link_that_leads_to_another_disk_is_refused(
        self, device: Device, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A stale by-id link once mounted the wrong volume after a reboot."""
        seen_as_a_disk(monkeypatch, serials=["0QEMU_QEMU_HARDDISK_vol-9"], size_bytes=MEGABYTES)

        with pytest.raises(ApplyError, match="vol-9") as refused:
            devices.find(device, wait_seconds=0)

        assert refused.value.code == "volume.other"

    def test_one_that_has_not_grown_yet_is_waited_for(self, device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
        seen_as_a_disk(monkeypatch, serials=["vol-1"], size_bytes=MEGABYTES - 1)

        with pytest.raises(ApplyError) as refused:
            devices.find(device, wait_seconds=0)

        assert (refused.value.code, refused.value.retryable) == ("volume.size", True)

    def test_the_right_one_is_answered_by_the_kernels_own_name(
        self, device: Device, disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        seen_as_a_disk(monkeypatch, serials=["vol-1"], size_bytes=MEGABYTES * 2)
        link = tmp_path / "by-id"
        link.symlink_to(disk)

        assert devices.find(replace(device, path=link), wait_seconds=0) == str(disk)


def seen_as_a_disk(monkeypatch: pytest.MonkeyPatch, *, serials: list[str], size_bytes: int) -> None:
    """What udev and the kernel would say; the virtual machines of `make vm-demo` ask the real ones."""
    monkeypatch.setattr(devices, "_serials", lambda node: serials)
    monkeypatch.setattr(devices, "_size_bytes", lambda status: size_bytes)
    monkeypatch.setattr(devices, "stat", SimpleNamespace(S_ISBLK=lambda mode: True))


@pytest.mark.skipif(
    not may_resize(), reason="the kernel resizes mounted file systems for CAP_SYS_RESOURCE alone; see `make vm-demo`"
)
def test_a_mounted_file_system_grows_with_its_device(tmp_path: Path, device: Device, disk: Path) -> None:
    devices.ensure_file_system(str(disk), device, ENVIRONMENT)
    place = tmp_path / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(place)], check=True)
    try:
        node = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", str(place)], capture_output=True, text=True, check=True
        ).stdout.strip()
        before = os.statvfs(place).f_blocks
        with disk.open("r+b") as file:
            file.truncate(MEGABYTES * 2)
        subprocess.run(["losetup", "--set-capacity", node], check=True)

        devices.grow(node)
        devices.grow(node)

        assert os.statvfs(place).f_blocks > before * 1.5
    finally:
        subprocess.run(["umount", str(place)], check=True)

"""Ports: free ones, kept from run to run."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts import ports


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_with_a_listener_is_not_free(taken: int) -> None:
    assert not ports.is_free(taken)
    assert taken in ports.listening()
    assert ports.accepts(taken)


def test_a_block_avoids_every_listener(taken: int) -> None:
    first, last = ports.choose_block(4, first=taken - 4, last=taken + 7)
    assert not first <= taken <= last
    assert last - first == 3


def test_no_block_left_is_told_with_the_range(taken: int) -> None:
    with pytest.raises(ports.NoPortError, match=f"between {taken} and {taken}"):
        ports.choose_block(1, first=taken, last=taken)


def test_ports_are_kept(tmp_path: Path) -> None:
    first = ports.keep(tmp_path / "ports.json")
    assert ports.keep(tmp_path / "ports.json") == first
    assert ports.load(tmp_path / "ports.json") == first


def test_the_ranges_lie_outside_the_ephemeral_ports(tmp_path: Path) -> None:
    first_ephemeral = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    chosen = ports.keep(tmp_path / "ports.json")
    assert max(chosen.web, chosen.registry, chosen.proxy[1], chosen.containers[1]) < first_ephemeral


def test_a_port_that_somebody_took_is_chosen_anew(tmp_path: Path, taken: int) -> None:
    path = tmp_path / "ports.json"
    before = ports.keep(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"web": taken}))
    after = ports.keep(path)
    assert after.web != taken
    assert after.registry == before.registry


def test_the_registrys_port_is_never_chosen_anew(tmp_path: Path, taken: int) -> None:
    path = tmp_path / "ports.json"
    ports.keep(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"registry": taken}))
    with pytest.raises(ports.RegistryPortTakenError, match="make clean-data"):
        ports.keep(path)

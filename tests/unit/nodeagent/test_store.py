"""The state directory: what a crash at any moment leaves behind is old or new."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from nodeagent import files
from nodeagent.store import Journal, Store, StoreError
from nodeagent.wire.decode import encode
from nodeagent.wire.keyset import Keyset
from tests import signed
from tests.signed import ENVIRONMENT, Offer, enrolled_store


class PowerCutError(BaseException):
    """The machine is gone: nothing catches this but the test."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return enrolled_store(tmp_path / "sam")


def cut_at(monkeypatch: pytest.MonkeyPatch, module: object, name: str, count: int) -> None:
    """The `count`-th call of this function is the last thing that happens."""
    real: Callable[..., object] = getattr(module, name)
    calls = {"left": count}

    def cut(*args: object, **kwargs: object) -> object:
        calls["left"] -= 1
        if calls["left"] == 0:
            raise PowerCutError
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, cut)


def test_the_state_directory_is_its_owners_alone(store: Store) -> None:
    for path in (store.root, store.root / "identity", store.spool, store.root / "environments"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    store.write_release(ENVIRONMENT, 1, Offer().payload())
    for path in store.root.rglob("*"):
        assert not path.stat().st_mode & 0o077, path


def test_keys_are_made_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.prepare()
    first = [bytes(key) for key in store.make_keys()]
    assert [bytes(key) for key in Store(tmp_path).make_keys()] == first


def test_a_second_agent_is_turned_away(store: Store) -> None:
    with store.lock(), pytest.raises(StoreError, match=r"state\.locked"), Store(store.root).lock():
        pass
    with store.lock():
        pass


def test_the_floor_only_rises_and_survives_a_restart(store: Store) -> None:
    store.raise_floor(ENVIRONMENT, 5, "sha256:" + "5" * 64)
    store.raise_floor(ENVIRONMENT, 4, "sha256:" + "4" * 64)
    store.see_server_time(200)
    store.see_server_time(100)
    again = Store(store.root).floor()
    assert (again.of(ENVIRONMENT).max_seen_seq, again.of(ENVIRONMENT).max_seen_digest) == (5, "sha256:" + "5" * 64)
    assert again.server_time == 200


def test_the_floor_survives_the_end_of_its_environment(store: Store) -> None:
    store.write_release(ENVIRONMENT, 5, Offer(seq=5).payload())
    store.raise_floor(ENVIRONMENT, 5, "sha256:" + "5" * 64)
    store.set_current(ENVIRONMENT, 5)
    store.clear_current(ENVIRONMENT)
    assert store.current(ENVIRONMENT) is None
    assert store.floor().of(ENVIRONMENT).max_seen_seq == 5


def test_a_generation_only_grows(store: Store) -> None:
    store.place(ENVIRONMENT, 3)
    store.place(ENVIRONMENT, 2)
    assert store.placements() == {ENVIRONMENT: 3}


@pytest.mark.parametrize("call", ["fsync", "open"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_floor_written_while_the_power_goes_is_the_old_or_the_new(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, count: int
) -> None:
    store.raise_floor(ENVIRONMENT, 1, "sha256:" + "1" * 64)
    cut_at(monkeypatch, files.os, call, count)
    with pytest.raises(PowerCutError):
        store.raise_floor(ENVIRONMENT, 2, "sha256:" + "2" * 64)
    monkeypatch.undo()
    assert Store(store.root).floor().of(ENVIRONMENT).max_seen_seq in (1, 2)


@pytest.mark.parametrize("count", range(1, 15))
def test_a_payload_replaced_while_the_power_goes_is_whole(
    store: Store, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    old, new = Offer(seq=3).payload(), Offer(seq=3, now=signed.NOW + 60).payload()
    store.write_release(ENVIRONMENT, 3, old)
    store.journal(ENVIRONMENT, 3).append({"step": "pull"})
    cut_at(monkeypatch, files, "sync_directory", count)
    with contextlib.suppress(PowerCutError):
        store.write_release(ENVIRONMENT, 3, new)
    monkeypatch.undo()
    again = Store(store.root)
    again.prepare()
    assert again.release(ENVIRONMENT, 3) in (old, new)
    assert again.journal(ENVIRONMENT, 3).entries() == [{"step": "pull"}]


def test_a_crash_between_the_two_renames_brings_the_old_payload_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Offer(seq=3).payload()
    store.write_release(ENVIRONMENT, 3, old)
    cut_at(monkeypatch, Path, "rename", 2)
    with pytest.raises(PowerCutError):
        store.write_release(ENVIRONMENT, 3, Offer(seq=3, now=signed.NOW + 1).payload())
    monkeypatch.undo()
    assert not store.release_path(ENVIRONMENT, 3).exists()
    again = Store(store.root)
    again.prepare()
    assert again.releases(ENVIRONMENT) == [3]
    assert again.release(ENVIRONMENT, 3) == old


def test_current_moves_as_a_whole_and_only_to_what_is_there(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for seq in (1, 2):
        store.write_release(ENVIRONMENT, seq, Offer(seq=seq).payload())
    store.set_current(ENVIRONMENT, 1)
    cut_at(monkeypatch, Path, "rename", 1)
    with pytest.raises(PowerCutError):
        store.set_current(ENVIRONMENT, 2)
    monkeypatch.undo()
    assert store.current(ENVIRONMENT) == 1
    store.set_current(ENVIRONMENT, 2)
    assert os.readlink(store.root / "environments" / ENVIRONMENT / "current") == "releases/2"
    with pytest.raises(StoreError, match=r"state\.missing"):
        store.set_current(ENVIRONMENT, 3)


@pytest.mark.parametrize("target", ["/etc", "releases/../../x", "releases/0", "releases/1/x", "other/1"])
def test_a_current_that_points_elsewhere_is_an_error_and_not_followed(store: Store, target: str) -> None:
    store.write_release(ENVIRONMENT, 1, Offer().payload())
    (store.root / "environments" / ENVIRONMENT / "current").symlink_to(target)
    with pytest.raises(StoreError, match=r"state\.current"):
        store.current(ENVIRONMENT)


def test_a_journal_line_torn_by_a_crash_is_cut_off(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "apply.journal")
    assert journal.entries() == []
    journal.append({"step": "disk"})
    with journal.path.open("ab") as file:
        file.write(b'{"step":"pu')
    assert journal.entries() == [{"step": "disk"}]
    journal.append({"step": "pull"})
    assert journal.entries() == [{"step": "disk"}, {"step": "pull"}]


def test_a_journal_without_a_receipt_is_unfinished(store: Store) -> None:
    for seq in (1, 2):
        store.write_release(ENVIRONMENT, seq, Offer(seq=seq).payload())
        store.journal(ENVIRONMENT, seq).append({"step": "disk"})
    store.record_receipt(ENVIRONMENT, 1, b"{}")
    assert store.unfinished(ENVIRONMENT) == [2]
    assert store.undelivered_receipts(ENVIRONMENT) == [1]
    store.acknowledge_receipt(ENVIRONMENT, 1)
    assert store.undelivered_receipts(ENVIRONMENT) == []


def test_pruning_keeps_current_what_is_unfinished_and_the_newest(store: Store) -> None:
    for seq in range(1, 8):
        store.write_release(ENVIRONMENT, seq, Offer(seq=seq).payload())
        if seq != 2:
            store.record_receipt(ENVIRONMENT, seq, b"{}")
    store.journal(ENVIRONMENT, 2).append({"step": "disk"})
    store.set_current(ENVIRONMENT, 1)
    store.prune(ENVIRONMENT, keep=2)
    assert store.releases(ENVIRONMENT) == [1, 2, 6, 7]


@pytest.mark.parametrize("name", ["../../etc", "", ".", ENVIRONMENT.upper(), ENVIRONMENT + "/x"])
def test_an_environment_id_is_no_path(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="UUID"):
        store.release_path(name, 1)


@pytest.mark.parametrize("raw", [b"", b"{}", b"[]", b'{"version":1}', b"\xff", b"{" * 2000])
def test_a_damaged_keyset_is_an_error_that_names_its_file(store: Store, raw: bytes) -> None:
    (store.root / "keyset.json").write_bytes(raw)
    with pytest.raises(StoreError, match=r"keyset\.json.*state\.corrupt"):
        store.keyset()


def test_the_keyset_lies_open_and_its_envelope_beside_it(store: Store) -> None:
    assert (store.root / "keyset.json").read_bytes() == encode(signed.keyset())
    assert isinstance(store.keyset(), Keyset)
    envelope = (store.root / "keysets" / "1.json").read_bytes()
    assert envelope == signed.keyset_envelope(signed.keyset(), signed.ROOT)

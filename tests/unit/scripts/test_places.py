"""Where a checkout keeps what it runs."""

from __future__ import annotations

import stat
from pathlib import Path

from scripts import keys, places


def test_a_file_is_replaced_in_one_step_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "up.json"
    places.write_privately(path, "first")
    places.write_privately(path, "second")
    assert path.read_text() == "second"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_sockets_move_to_a_short_path_where_the_checkout_is_deep(tmp_path: Path) -> None:
    deep = places.Places(tmp_path / ("d" * 120))
    assert len(str(deep.sockets / "supervisor.sock")) < places.SOCKET_PATH_LIMIT
    assert deep.sockets == places.Places(tmp_path / ("d" * 120)).sockets
    assert deep.sockets != places.Places(tmp_path / ("e" * 120)).sockets


def test_a_secret_is_made_once_and_kept_private(tmp_path: Path) -> None:
    where = places.Places(tmp_path)
    made = keys.keep(where, "kek")
    assert keys.keep(where, "kek") == made
    assert stat.S_IMODE((tmp_path / "kek.key").stat().st_mode) == 0o600

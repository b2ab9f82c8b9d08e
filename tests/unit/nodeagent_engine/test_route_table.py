"""The route table and the proxy's files: who gets which backend and slot, and what the proxy is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent import haproxy, routes
from nodeagent.haproxy import ProxyError, Target
from nodeagent.routes import Closing, LocalSites, Route, Table, assigned

EMPTY = Table(range(20000, 20010), 4)
PLACES = [f"2000{n}/" for n in range(4)]
wanted_places = st.dictionaries(st.sampled_from(PLACES), st.integers(21000, 21005), max_size=2)


def test_a_place_keeps_its_backend_and_changes_its_slot() -> None:
    first, closing = assigned(EMPTY, "a", {"20000/": 21000})
    assert closing == []
    second, closing = assigned(first, "a", {"20000/": 21001})
    assert second.targets() == {"r001": Target("b", 21001)}
    assert closing == [Closing("r001", "a")]


def test_assigning_the_same_again_changes_nothing() -> None:
    first, _ = assigned(EMPTY, "a", {"20000/": 21000})
    assert assigned(first, "a", {"20000/": 21000}) == (first, [])


def test_a_backend_that_still_drains_is_not_given_out() -> None:
    table, _ = assigned(EMPTY, "a", {"20000/": 21000}, busy={"r001"})
    assert list(table.targets()) == ["r002"]


def test_a_full_proxy_says_so() -> None:
    with pytest.raises(ProxyError, match="backends"):
        assigned(Table(range(20000, 20010), 1), "a", {"20000/": 1, "20001/": 2})


@given(st.lists(st.tuples(st.sampled_from("ab"), wanted_places), max_size=6))
def test_environments_never_share_a_backend_or_touch_each_other(turns: list[tuple[str, dict[str, int]]]) -> None:
    table = Table(range(20000, 20010), 6)  # two environments with two places each, and two that change
    for environment, wanted in turns:
        mine = {f"{environment}{place}": port for place, port in wanted.items()}
        others = [e for e in table.entries if e.environment_id != environment]
        table, closing = assigned(table, environment, mine)
        assert {e.place: e.target.port for e in table.of(environment)} == mine
        assert [e for e in table.entries if e.environment_id != environment] == others
        assert len(table.targets()) == len(table.entries)
        assert all(table.targets().get(c.backend, Target("a", 0)).slot != c.slot or c.backend for c in closing)


def test_the_new_slot_is_ready_before_the_old_one_drains() -> None:
    assert haproxy.activate("r001", Target("b", 21001)) == [
        "set server r001/b addr 127.0.0.1 port 21001",
        "set server r001/b state ready",
        "set server r001/a state drain",
    ]


def test_the_map_changes_only_where_it_differs() -> None:
    now, wanted = {"1/": "r001", "2/": "r002", "3/": "r003"}, {"1/": "r001", "2/": "r004", "4/": "r005"}
    assert haproxy.map_changes(Path("/p.map"), now, wanted) == [
        "add map /p.map 4/ r005",
        "set map /p.map 2/ r004",
        "del map /p.map 3/",
    ]


def test_a_proxy_that_starts_anew_serves_the_table_at_once() -> None:
    text = haproxy.config_text(
        socket_path=Path("/p/admin.sock"),
        map_path=Path("/p/places.map"),
        ports=range(20000, 20010),
        backends=["r001", "r002"],
        targets={"r001": Target("b", 21001)},
        owner=None,
    )
    assert "bind 127.0.0.1:20000-20009\n" in text
    assert "backend r001\n    server a 127.0.0.1:1 disabled\n    server b 127.0.0.1:21001\n" in text
    assert "backend r002\n    server a 127.0.0.1:1 disabled\n    server b 127.0.0.1:1 disabled\n" in text


def test_files_come_back_as_the_table_that_was_written(tmp_path: Path) -> None:
    table, _ = assigned(EMPTY, "a", {"20000/": 21000, "20000/api/": 21001})
    routes.write_files(tmp_path, table)
    assert routes.read_table(tmp_path) == table


def test_preparing_again_keeps_the_targets(tmp_path: Path) -> None:
    routes.prepare(tmp_path, range(20000, 20010), backends=4)
    table, _ = assigned(routes.read_table(tmp_path), "a", {"20000/": 21000})
    routes.write_files(tmp_path, table)
    routes.prepare(tmp_path, range(20000, 20010), backends=4)
    assert routes.read_table(tmp_path) == table


def test_a_directory_that_was_never_prepared_says_how(tmp_path: Path) -> None:
    with pytest.raises(ProxyError, match="init"):
        routes.read_table(tmp_path)


def test_a_deep_directory_gets_its_sockets_elsewhere() -> None:
    deep = Path("/" + "deep/" * 30)
    assert routes.socket_dir(deep) != deep
    assert len(str(routes.socket_dir(deep) / "supervisor.sock")) < haproxy.SOCKET_PATH_LIMIT


def test_sites_keep_their_ports_and_share_none(tmp_path: Path) -> None:
    for environment in ("a", "b"):
        (tmp_path / environment).mkdir()
    sites = LocalSites(range(20000, 20003), tmp_path)
    shop, api = Route("web", 80, "public", "Shop.example", "/"), Route("api", 81, "public", "shop.example", "/api")
    alone = Route("web", 80, "public", None, "/")
    assert sites.place("a", shop) == "20000/"
    assert sites.place("a", api) == "20000/api/"
    assert sites.place("a", alone) == "20001/"
    assert sites.url("b", alone) == "http://127.0.0.1:20002/"
    assert LocalSites(range(20000, 20003), tmp_path).url("a", api) == "http://127.0.0.1:20000/api"
    with pytest.raises(ProxyError, match="ports"):
        sites.place("b", shop)
    sites.give_back("a")
    assert sites.place("b", shop) == "20000/"


@pytest.mark.parametrize("text", ["1-", "x-y", "9-5", "0-3", "1-70000"])
def test_what_is_no_range_of_ports_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|invalid"):
        routes.port_range(text)

"""Compose documents for tests: one around each row of the table, and strategies that spoil them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from deployments.domain.compose import dependencies, health, mounts, ports, table
from deployments.domain.compose.rules import Row
from tests import edits

TOP = """\
services:
  web:
    image: registry.example/shop/web:1
    ports: ["3000"]
{service}
  db:
    image: registry.example/shop/db:1
volumes: {{data: {volume}}}
{top}
"""


@dataclass(frozen=True)
class Case:
    """One row in the mapping where it stands; `place` names the mapping."""

    place: str
    row: Row

    @property
    def name(self) -> str:
        return f"{self.place}.{self.row.key}"

    def document(self, snippet: str) -> bytes:
        """A document that is accepted but for what the snippet does to it."""
        return PLACES[self.place][1](self.row, snippet).encode()


def _top(row: Row, snippet: str) -> str:
    if row.key == "services":
        return snippet
    if row.key == "volumes":
        return TOP.format(service="", volume="", top="").replace("volumes: {data: }", snippet)
    return TOP.format(service="", volume="", top=snippet)


def _service(row: Row, snippet: str) -> str:
    document = TOP.format(service=textwrap.indent(snippet, "    "), volume="", top="")
    for line in ("    image: registry.example/shop/web:1\n", '    ports: ["3000"]\n'):
        if f"    {row.key}:" in line:
            document = document.replace(line, "", 1)
    if row.key == "ports":
        document += "x-sam-worker: true\n"
    return document


def _within(*keys: str) -> object:
    def write(row: Row, snippet: str) -> str:
        for key in reversed(keys):
            snippet = f"{key}:\n{textwrap.indent(snippet, '  ')}"
        return TOP.format(service=textwrap.indent(snippet, "    "), volume="", top="")

    return write


def _beside(rest: str, *keys: str) -> object:
    """Where the mapping needs other members too: `rest` are flow members, without the row's own."""

    def write(row: Row, snippet: str) -> str:
        others = [each for each in rest.split("; ") if not each.startswith(f"{row.key}:")]
        return keys[0].replace("HERE", ", ".join([*others, snippet]))

    return write


def _mount(row: Row, snippet: str) -> str:
    members = ["type: volume", "source: data", "target: /data"]
    kept = [each for each in members if not each.startswith(f"{row.key}:")]
    return TOP.format(service="    volumes: [{" + ", ".join([*kept, snippet]) + "}]", volume="", top="")


def _port(row: Row, snippet: str) -> str:
    kept = [] if row.key == "target" else ["target: 3000"]
    item = "{" + ", ".join([*kept, snippet]) + "}"
    document = TOP.format(service="", volume="", top="x-sam-worker: true")
    return document.replace('["3000"]', f"[{item}]")


def _dependency(row: Row, snippet: str) -> str:
    kept = [] if row.key == "condition" else ["condition: service_started"]
    return TOP.format(service="    depends_on: {db: {" + ", ".join([*kept, snippet]) + "}}", volume="", top="")


def _http(row: Row, snippet: str) -> str:
    members = ["path: /healthz", "port: 3000"]
    kept = [each for each in members if not each.startswith(f"{row.key}:")]
    return TOP.format(service="    healthcheck: {x-sam-http: {" + ", ".join([*kept, snippet]) + "}}", volume="", top="")


def _volume(row: Row, snippet: str) -> str:
    return TOP.format(service="", volume="{" + snippet + "}", top="")


def _route(row: Row, snippet: str) -> str:
    members = ["service: web", "port: 3000", "mode: public"]
    kept = [each for each in members if not each.startswith(f"{row.key}:")]
    return TOP.format(service="", volume="", top="x-sam-routes: [{" + ", ".join([*kept, snippet]) + "}]")


def _pre_flight(row: Row, snippet: str) -> str:
    members = ["service: web", "command: [manage]"]
    kept = [each for each in members if not each.startswith(f"{row.key}:")]
    return TOP.format(service="", volume="", top="x-sam-pre-flight: {" + ", ".join([*kept, snippet]) + "}")


PLACES = {
    "document": (table.TOP, _top),
    "service": (table.SERVICE, _service),
    "deploy": (table.DEPLOY, _within("deploy")),
    "deploy.update_config": (table.UPDATE, _within("deploy", "update_config")),
    "deploy.resources": (table.RESOURCES, _within("deploy", "resources")),
    "deploy.resources.limits": (table.LIMITS, _within("deploy", "resources", "limits")),
    "healthcheck": (health.ROWS, _within("healthcheck")),
    "x-sam-http": (health.HTTP_ROWS, _http),
    "mount": (mounts.LONG_ROWS, _mount),
    "port": (ports.LONG_ROWS, _port),
    "dependency": (dependencies.DEPENDENCY, _dependency),
    "volume": (table.VOLUME, _volume),
    "route": (table.ROUTE, _route),
    "pre-flight": (table.PRE_FLIGHT, _pre_flight),
}


def cases() -> Iterator[Case]:
    for place, (rows, _) in PLACES.items():
        yield from (Case(place, row) for row in rows)


# Strategies

_JUNK = st.one_of(
    st.just(edits.Plain("null")),
    st.just(edits.Plain("yes")),
    st.just(edits.Plain("012")),
    st.just(edits.Plain("1.5")),
    st.just(edits.Plain("true")),
    st.integers(-2, 70000).map(lambda number: edits.Plain(str(number))),
    st.sampled_from(
        ["", "x", "web", "db", "data", "0", "no", "/", "/data", "./data:/data", "data:/data", "other:/x:z", "./a.b:/c",
         "v:/data", "$HOME", "a $$ b", "${A}", "${A:-b}", "${A-b}", "80:80", "53:53/udp", "3000-3010", "::1:80:80",
         "0.0.0.0:80:80", "A=1", "A", "SAM_X=1", "5s", "1h", "512M", "a && b", 'a "b', "start-first", "CHOWN",
         "service_completed_successfully", "https://registry.example/app", "/proc/x", "./up/cache:/var/cache:ro"]
    ),
    st.just([]),
    st.just({}),
)  # fmt: skip


def _snippets(rows: Sequence[Row]) -> st.SearchStrategy[dict[str, Any]]:
    """Members by the examples of the rows, good and bad, some of them misspelt or spoilt."""
    examples = [text for row in rows for text in (row.example, row.refused) if text]
    return st.lists(st.sampled_from(examples), max_size=6).flatmap(
        lambda chosen: st.tuples(*(_spoilt(edits.model(text.encode())) for text in chosen)).map(
            lambda members: {key: value for member in members for key, value in member.items()}
        )
    )


def _spoilt(member: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    (key, value), *_ = member.items()
    return st.tuples(
        st.one_of(*[st.just(key)] * 7, _misspelt(key)),
        st.one_of(*[st.just(value)] * 4, _JUNK, st.lists(_JUNK, max_size=3), _nested(value), _nested(value)),
    ).map(lambda pair: {pair[0]: pair[1]})


def _misspelt(key: str) -> st.SearchStrategy[str]:
    def dropped(at: int) -> str:
        return key[:at] + key[at + 1 :]

    return st.integers(0, max(len(key) - 1, 0)).flatmap(
        lambda at: st.sampled_from([dropped(at) or "q", f"{key[:at]}q{key[at:]}", f"{key}_", key.upper()])
    )


def _nested(value: Any) -> st.SearchStrategy[Any]:
    """The value with one of its members replaced by junk, or junk if it has none."""
    if isinstance(value, dict) and value:
        return st.tuples(st.sampled_from(sorted(value)), st.one_of(_JUNK, st.lists(_JUNK, max_size=2))).map(
            lambda pair: {**value, pair[0]: pair[1]}
        )
    if isinstance(value, list):
        return _JUNK.map(lambda junk: [*value, junk])
    return _JUNK


def faulty_documents() -> st.SearchStrategy[bytes]:
    """Documents that an author could have written on a bad day."""
    good = {"image": "registry.example/shop/web:1", "ports": ["3000"]}
    service = st.tuples(st.sampled_from([good, {"image": "registry.example/shop/db:1"}]), _snippets(table.SERVICE)).map(
        lambda pair: {**pair[0], **pair[1]}
    )
    usual = st.one_of(*[service] * 9, _JUNK)
    services = st.one_of(
        st.fixed_dictionaries({"web": service}, optional={"db": usual, "worker": usual}),
        st.dictionaries(st.sampled_from(["web", "db", "WEB", "w-"]), usual, max_size=4),
    )
    volumes = st.dictionaries(
        st.sampled_from(["data", "v", "Data", "cache"]), st.one_of(*[_snippets(table.VOLUME)] * 4, _JUNK), max_size=3
    )
    routes = st.lists(_snippets(table.ROUTE), max_size=3)
    return st.fixed_dictionaries(
        {"services": services},
        optional={
            "volumes": volumes,
            "x-sam-routes": st.one_of(routes, routes, _JUNK),
            "x-sam-pre-flight": _snippets(table.PRE_FLIGHT),
            "x-sam-worker": st.sampled_from([edits.Plain("true"), edits.Plain("false"), edits.Plain("null"), "x"]),
            "networks": st.just({}),
            "sevices": _JUNK,
            "x-sam-route": st.just([]),
        },
    ).map(edits.written)

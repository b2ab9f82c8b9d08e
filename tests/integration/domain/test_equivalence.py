"""For every accepted file, `docker compose config` reads our rendering back as it reads the author's file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deployments.domain import compose, references
from deployments.domain.compose.commands import SplitError, split
from tests import corpus, edits
from tests.compose_documents import Case, cases
from tests.integration.domain import compose_config

VALUES = {"NAME": "a value with $ and ${BRACES}", "DB_PASSWORD": 'p"\\w: #1', "EMPTY": "", "LONG_ONE": "line\nline\n"}
EXAMPLES = [
    case
    for case in cases()
    # Compose has no such value; the node makes the probe.
    if case.row.decision == "accepted" and case.row.key not in ("x-sam-http",) and case.place != "x-sam-http"
]


def same(document: bytes, directory: Path, values: Mapping[str, str] = VALUES) -> None:
    parsed = compose.parse(document)
    assert parsed.manifest is not None, parsed.problems
    author = compose_config.of_author(document, directory, values)["services"]
    ours = compose_config.of_rendering(parsed.manifest, directory, values)["services"]
    assert author.keys() == ours.keys()
    for name, service in author.items():
        assert compose_config.comparable(ours[name]) == compose_config.comparable(service), name
        found = compose_config.limits(ours[name])
        assert {**found, **compose_config.limits(service)} == found, name


@pytest.mark.parametrize("case", EXAMPLES, ids=lambda case: case.name)
def test_the_example_of_an_accepted_key_reads_back_as_compose_reads_it(case: Case, tmp_path: Path) -> None:
    same(case.document(case.row.example), tmp_path)


def services(members: Mapping[str, str]) -> bytes:
    """One document with one service per entry."""
    lines = ["x-sam-worker: true", "services:"]
    for name, member in members.items():
        lines += [f"  {name}:", "    image: registry.example/app:1", f"    {member}"]
    return "\n".join([*lines, "volumes: {data: , other: }", ""]).encode()


COMMANDS = [
    "serve --port 3000", 'sh -c "a && b; c | d > e"', "a 'b c' d", 'a "b c" d', r"a\ b c", r"a \n \t \x", r"'a\nb'",
    'a "" b', "a '' b", 'x"y"z', "x'y z'w", 'a "b \\" c"', "a $$HOME $$(date +%s) b", "a `b c` d", "a=b --c=d",
    'a "b\nc"', "  spaced   out  ", "é ü 日本 😀", "a#b #c", "{a,b}", "a 'b\"c'",
    "$$x", "a\\", "a 'b", 'a "b', "a ) b", "a ( b", "$$(a b", "a $$(b) c)d(", "`a", "a;b", "a&b", "a|b", "a>b", "a<b",
    "a 2>&1", 'a ";" b', "a \\; b", "a '&' b", "\\", "''", '""', "'", "a\\\nb", "a \t b", "$$", "a $$ b",
]  # fmt: skip


@pytest.mark.parametrize("key", ["command", "entrypoint"])
def test_a_command_in_one_string_is_split_as_compose_splits_it(key: str, tmp_path: Path) -> None:
    accepted = {}
    for number, line in enumerate(COMMANDS):
        try:
            split(line.replace("$$", "$"))
        except SplitError:
            continue
        accepted[f"s{number}"] = f"{key}: {edits.written(line).decode()}"
    names = list(accepted)
    for start in range(0, len(names), 20):
        same(services({name: accepted[name] for name in names[start : start + 20]}), tmp_path)


@pytest.mark.parametrize("line", ["a 'b", 'a "b', "a ( b", "`a", "a \\"])
def test_a_command_that_compose_cannot_split_is_refused_here_too(line: str, tmp_path: Path) -> None:
    document = services({"web": f"command: {edits.written(line).decode()}"})
    assert [each.code for each in compose.parse(document).problems] == ["compose.command_quotes"]
    with pytest.raises(AssertionError, match="invalid command line"):
        compose_config.of_author(document, tmp_path, {})


TEXTS = [
    "plain", "", " ", "  padded  ", "no", "012", "1e3", "null", "~", "true", "0x1F", "2001-01-01", "a: b", "a #b", "#a",
    "- a", "[a]", "{a}", "'quoted'", '"quoted"', "back\\slash", "tab\there", "line\nline\n", "\n", "é", "日本", "😀𝄞",
    "\u2028", "\u2029", "\u00a0", "$$", "$$$$", "$$HOME", "$$" + "{HOME}", "$1", "$ ", "a$", "$(x)", "%", "@", "`",
    "!x", "&x",
    "*x", "|", ">", "?", "? a", ":", "a:", "x" * 5000, "<<", "=", "---", "...", "\u0301", "y", "0", "-0", "00",
]  # fmt: skip


def test_environment_values_read_back_as_they_are(tmp_path: Path) -> None:
    members = {f"T{number}": text for number, text in enumerate(TEXTS)}
    members |= {
        "REFERENCE": "${NAME}", "PART": "a ${NAME} b ${DB_PASSWORD}", "DEFAULT": "${UNSET:-a default}",
        "EMPTY_DEFAULT": "${EMPTY:-used}", "NO_DEFAULT": "${UNSET:-}", "MESSAGE": "${NAME:?must be set}",
        "IS_EMPTY": "${EMPTY}",
        "LINES": "${LONG_ONE}", "DOLLARS": "$$${NAME}$$", "DOLLAR_DEFAULT": "${UNSET:-a$$b}",
    }  # fmt: skip
    numbers = "NUMBER: 12, NEGATIVE: -3, TRUTH: true, LIE: False, ZERO: 0, BIG: 9223372036854775807"
    document = services({"web": f"environment: {edits.written(members).decode()[:-1]}, {numbers}" + "}"})
    same(document, tmp_path)


def test_an_environment_in_a_list_reads_back_as_it_is(tmp_path: Path) -> None:
    items = [f"T{number}={text}" for number, text in enumerate(TEXTS)] + [
        "A.B=c",
        "EMPTY=",
        "EQUALS=a=b=c",
        "R=${NAME}",
    ]
    same(services({"web": f"environment: {edits.written(items).decode()}"}), tmp_path)


def test_words_of_commands_and_tests_read_back_as_they_are(tmp_path: Path) -> None:
    words = edits.written(["first", *TEXTS]).decode()
    test = edits.written(["CMD", "first", *TEXTS]).decode()
    same(services({"web": f"command: {words}\n    entrypoint: {words}\n    healthcheck: {{test: {test}}}"}), tmp_path)


def test_durations_and_sizes_read_back_as_they_are(tmp_path: Path) -> None:
    durations = ["1s", "1500ms", "1m30s", "90s", "1m", "0s", "1.5s", "1m0.5s", "120s", "2m", "1000000us", "1s500ms"]
    sizes = ["64m", "64M", "64mb", "64MB", "64MiB", "65536k", "1048576", "1.5m", "128 m", "100kb", "1048576b"]
    members = {f"d{number}": f"stop_grace_period: {each}" for number, each in enumerate(durations)}
    same(services(members), tmp_path)
    same(services({f"s{number}": f"shm_size: {each}" for number, each in enumerate(sizes)}), tmp_path)
    limits = ["6M", "512m", "1g", "1.5G", '"1073741824"', "0.5gb", "1tib"]
    same(
        services(
            {
                f"m{number}": f"deploy: {{resources: {{limits: {{memory: {each}}}}}}}"
                for number, each in enumerate(limits)
            }
        ),
        tmp_path,
    )
    cpus = ["1", '"0.5"', "0.25", '"1.50"', ".5", "2.0", "0.001"]
    same(
        services(
            {f"c{number}": f"deploy: {{resources: {{limits: {{cpus: {each}}}}}}}" for number, each in enumerate(cpus)}
        ),
        tmp_path,
    )


def test_mounts_dependencies_and_block_texts_read_back_as_they_are(tmp_path: Path) -> None:
    document = b"""
services:
  web:
    image: registry.example/app:1
    ports: ["3000", "127.0.0.1:9000:9000"]
    volumes: ["data:/a", "data:/b:ro", "other:/c/:rw", {type: volume, source: other, target: /d, read_only: true}]
    tmpfs: /run/app
    depends_on:
      db: {condition: service_healthy, required: false}
      job: {condition: service_completed_successfully, restart: false}
      cache: {condition: service_started}
    environment:
      BLOCK: |
        first line
          second $$line

        last
      FOLDED: >-
        one
        two
      QUOTED: 'it''s'
  db:
    image: registry.example/db:1
    healthcheck: {test: "pg_isready -U $${POSTGRES_USER}", interval: 10s, timeout: 1m, retries: 5, start_period: 1m30s,
      start_interval: 2s}
  cache: {image: registry.example/cache:1, healthcheck: {disable: true}}
  job: {image: registry.example/job:1, command: null, entrypoint: ""}
volumes: {data: , other: {driver: local}}
"""
    same(document, tmp_path)


def files() -> list[Any]:
    found = corpus.directory()
    if found is None:
        return [pytest.param(None, marks=pytest.mark.skip(reason="the real files are not here (SAM_TEST_DATA)"))]
    return [pytest.param(file, id=file.name) for file in sorted(found.iterdir())]


@pytest.mark.parametrize("file", files())
def test_a_real_file_reads_back_once_its_images_are_built_and_its_fixes_made(file: Path, tmp_path: Path) -> None:
    """`build` is replaced by an image; of what is refused, the offered fixes are made; what then parses is compared."""
    root = edits.model(file.read_bytes())
    for name, service in root["services"].items():
        if service.pop("build", None) is not None:
            service["image"] = f"registry.example/built/{name}:1"
    document = edits.written(root)
    for _ in range(3):
        parsed = compose.parse(document)
        if not edits.fixes(parsed.problems):
            break
        document = edits.cured(document, parsed.problems)
    if parsed.manifest is None:
        assert all(problem.hint for problem in parsed.problems)
        return
    same(document, tmp_path, {each.name: "value" for each in references.expressions(parsed.manifest)})

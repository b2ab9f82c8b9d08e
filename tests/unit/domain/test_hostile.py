"""No file, however hostile, gets through, crashes, hangs or is misread."""

from __future__ import annotations

import codecs
import json
import os
import random
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.domain import catalogue, compose, manifest, renderer
from deployments.domain.compose import Parsed, characters, loader
from tests import corpus
from tests.compose_documents import cases

DIGEST = "sha256:" + "0" * 64
LISTED = {entry.code for entry in catalogue.entries()}
GOOD = b'services:\n  web:\n    image: registry.example/app:1\n    ports: ["3000"]\n'


def sound(parsed: Parsed) -> None:
    """What holds of every answer, whatever was sent."""
    assert (parsed.manifest is None) == bool(parsed.problems)
    for found in (parsed.problems, parsed.warnings):
        assert len(found) <= 201
        places = [(each.line, each.column) for each in found if each.code != "compose.more"]
        assert all(line and column and line >= 1 and column >= 1 for line, column in places)
        assert places == sorted(places)
        assert {each.code for each in found} <= LISTED
    if parsed.manifest is not None:
        raw = manifest.canonical(parsed.manifest)
        again = manifest.from_json(raw)
        assert again.manifest == parsed.manifest, again.problems
        pinned = manifest.pin(parsed.manifest, dict.fromkeys(manifest.images(parsed.manifest).values(), DIGEST))
        renderer.render(pinned, environment_id="0f8fad5b-d9cb-469f-a165-70867728950e", sequence=1)


def seeds() -> list[bytes]:
    own = [case.document(text) for case in cases() for text in (case.row.example, case.row.refused) if text]
    real = corpus.directory()
    return own + ([file.read_bytes() for file in sorted(real.iterdir())] if real else [])


TOKENS = [
    b"&a ", b"*a", b"<<: ", b"!!str ", b"!", b"%YAML 1.1\n", b"---\n", b"...\n", b"? ", b"- ", b": ", b"{", b"}", b"[",
    b"]",
    b"'", b'"', b"\\x", b"\\u202e", b"\\0", b"|\n", b">-\n", b"\t", b"\r", b"\n", b"\x00", b"\xff", b"\xef\xbb\xbf",
    b"\xc2\x85",
    b"\xe2\x80\xa8", b"\xf0\x9f\x98\x80", b"null", b"yes", b"012", b"1e3", b"22:22", b"0x1F", b"${A}", b"$A", b"$$",
    b"#", b",",
    b"x-sam-http", b"__class__", b"constructor", b"privileged: true\n", b"    image: x\n", b"~", b"@", b"`",
    b"\xed\xa0\x80",
]  # fmt: skip


def mutated(random_: random.Random, documents: list[bytes]) -> bytes:
    document = bytearray(random_.choice(documents))
    for _ in range(random_.choice((1, 1, 2, 3, 8))):
        at = random_.randrange(len(document) + 1)
        kind = random_.randrange(6)
        if kind == 0 and document:
            document[at % len(document)] ^= 1 << random_.randrange(8)
        elif kind == 1:
            document[at:at] = random_.choice(TOKENS)
        elif kind == 2:
            del document[at : at + random_.randrange(1, 12)]
        elif kind == 3:
            document[at:at] = document[at : at + random_.randrange(1, 200)]
        elif kind == 4:
            other = random_.choice(documents)
            start = random_.randrange(len(other))
            document[at:at] = other[start : start + random_.randrange(1, 100)]
        else:
            lines = bytes(document).split(b"\n")
            random_.shuffle(lines)
            document = bytearray(b"\n".join(lines))
    return bytes(document)


def test_the_mutator_finds_no_input_that_does_anything_but_get_an_answer() -> None:
    """2,000 inputs in every run; SAM_FUZZ_INPUTS asks for more, SAM_FUZZ_SEED for others."""
    random_ = random.Random(int(os.environ.get("SAM_FUZZ_SEED", "1")))  # noqa: S311 - reproducible, not secret
    documents = seeds()
    for _ in range(int(os.environ.get("SAM_FUZZ_INPUTS", "2000"))):
        sound(compose.parse(mutated(random_, documents)))


@settings(max_examples=int(os.environ.get("SAM_FUZZ_EXAMPLES", "300")), deadline=None)
@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_bytes_and_texts_of_any_kind_get_an_answer(document: bytes) -> None:
    sound(compose.parse(document))
    sound_json = manifest.from_json(document)
    assert (sound_json.manifest is None) == bool(sound_json.problems)


@settings(max_examples=int(os.environ.get("SAM_FUZZ_EXAMPLES", "300")), deadline=None)
@given(
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
        max_leaves=20,
    )
)
def test_values_of_any_shape_where_services_belong_get_an_answer(value: object) -> None:
    for document in ({"services": value}, {"services": {"web": value}}, {"v": 1, "services": {"web": value}}):
        raw = json.dumps(document).encode()
        sound(compose.parse(raw))
        parsed = manifest.from_json(raw)
        assert (parsed.manifest is None) == bool(parsed.problems)


BOMBS = {
    "open brackets": b"[" * 65_000,
    "open braces": b"{" * 65_000,
    "open braces with keys": b"{a: " * 16_000,
    "indicators": b"- " * 32_000,
    "question marks": b"? " * 32_000,
    "nested block": b"".join(b" " * level + b"a:\n" for level in range(300)),
    "merge keys": b"a: &a {b: c}\n" + b"x: {<<: [" + b"*a," * 5000 + b"]}\n",
    "aliases": b"a: &a [x]\n" + b"".join(b"k%d: &k%d [*a, *a]\n" % (n, n) for n in range(2000)),
    "anchors": b"".join(b"k%d: &k%d v\n" % (n, n) for n in range(3000)),
    "tags": b"".join(b"k%d: !t%d v\n" % (n, n) for n in range(3000)),
    "duplicate keys": b"a: 1\n" * 10_000,
    "unknown keys": b"".join(b"key%d: 1\n" % n for n in range(2400)),
    "one long scalar": b"a: " + b"x" * 65_000,
    "one long key": b"x" * 65_000 + b": a",
    "long lines of escapes": b'a: "' + b"\\u202e" * 10_000 + b'"',
    "raw controls": b"\x01" * 65_000,
    "returns": b"\r" * 65_000,
    "quotes": b'"' * 65_000,
    "dollars": GOOD + b"    environment: {A: '" + b"${" * 8000 + b"'}\n",
    "dollars everywhere": GOOD + b"    command: ['" + b"$a" * 8000 + b"']\n",
    "words": GOOD + b"    command: '" + b"a " * 8000 + b"'\n",
    "cpus": GOOD + b"    cpus: " + b"1" * 16_000 + b"\n",
    "duration": GOOD + b"    stop_grace_period: " + b"1h" * 8000 + b"\n",
    "image": GOOD + b"  db:\n    image: " + b"a-" * 8000 + b"\n",
    "image dots": GOOD + b"  db:\n    image: " + b"a." * 500 + b"/A\n",
    "host": GOOD + b"x-sam-routes: [{service: web, port: 1, mode: public, host: " + b"a." * 8000 + b"}]\n",
    "paths": GOOD + b"    tmpfs: [" + b"/.." * 5000 + b"]\n",
    "many mounts": GOOD + b"    volumes:\n" + b"".join(b"      - ./d%d:/d%d\n" % (n, n) for n in range(2000)),
    "many dependencies": GOOD + b"    depends_on: [" + b", ".join(b"s%d" % n for n in range(4000)) + b"]\n",
    "many near names": GOOD + b"".join(b"    imag%d: x\n" % n for n in range(2000)),
    "many labels": GOOD + b"    labels: {" + b", ".join(b"traefik.%d: a" % n for n in range(2000)) + b"}\n",
    "many environments": GOOD + b"    environment: [" + b", ".join(b"A=%d" % n for n in range(4000)) + b"]\n",
    "spaces": b" " * 65_000 + b"a: b",
    "comments": b"#\n" * 32_000,
    "empty lines": b"\n" * 65_000 + b"a: b",
    "block scalar": b"a: |\n" + b" x\n" * 20_000,
    "folded": b"a: >\n" + b" x\n\n" * 13_000,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_gets_an_answer_in_time(name: str) -> None:
    document = BOMBS[name][: loader.MAX_BYTES]
    started = time.process_time()
    parsed = compose.parse(document)
    for each in (*parsed.problems, *parsed.warnings):
        each.as_json()
    assert (
        time.process_time() - started < 1.0
    )  # a common file of this size takes 10 ms; the bound allows for a busy machine
    sound(parsed)
    assert parsed.manifest is None or name == "words"


def test_characters_are_refused_by_their_category_and_by_nothing_else() -> None:
    categories = {"Cc", "Cf", "Cs", "Co"}
    for code in range(0x110000):
        character = chr(code)
        refused = unicodedata.category(character) in categories and character not in "\t\n"
        if not refused and unicodedata.category(character) == "Cn":
            continue  # a newer Unicode than this interpreter's may have given it a category that is refused
        assert (characters.UNESCAPED.search(character) is not None) == refused, hex(code)


@pytest.mark.parametrize(
    "character", ["\u202e", "\u200b", "\u2066", "\x00", "\x07", "\x85", "\u2028", "\ue000", "\ufeff", "\x7f"]
)
def test_a_character_that_deceives_is_refused_raw_with_its_place(character: str) -> None:
    parsed = compose.parse(GOOD + f'    stop_signal: "a{character}b"\n'.encode())
    found = next(each for each in parsed.problems if each.code == "compose.character")
    assert (found.line, found.column) == (5, 20)
    assert all(character not in each.message for each in parsed.problems)


@pytest.mark.parametrize("escape", ["\\u202e", "\\0", "\\a", "\\N", "\\uE000", "\\uFEFF", "\\x7f", "\\e"])
def test_a_character_that_deceives_is_refused_as_an_escape(escape: str) -> None:
    assert [each.code for each in compose.parse(GOOD + f'    command: ["{escape}"]\n'.encode()).problems] == [
        "compose.character"
    ]


@pytest.mark.parametrize("escape", ["\\L", "\\P", "\\u2028", "\\U0001F600", "\\_", "\\t", "\\n", "\\\\", '\\"', "\\/"])
def test_other_escapes_are_ordinary(escape: str) -> None:
    assert compose.parse(GOOD + f'    command: ["{escape}"]\n'.encode()).manifest is not None


def test_carriage_returns_are_fine_before_line_feeds_only() -> None:
    assert compose.parse(GOOD.replace(b"\n", b"\r\n")).manifest is not None
    assert [each.code for each in compose.parse(GOOD.replace(b"\n", b"\r")).problems][:1] == ["compose.character"]


ENCODINGS = [
    "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be", "utf-8-sig", "cp1252", "latin-1", "cp037",
    "cp500",
    "shift_jis", "euc_jp", "gb18030", "big5", "koi8-r", "cp1251", "iso8859-15", "mac_roman", "utf-7", "cp437",
]  # fmt: skip


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_other_encodings_are_refused_or_read_as_the_utf_8_that_they_happen_to_be(encoding: str) -> None:
    text = GOOD.decode() + "    working_dir: /é日ж\n"
    document = codecs.encode(text, encoding, "replace")
    parsed = compose.parse(document)
    sound(parsed)
    if parsed.manifest is not None:
        assert document.decode("utf-8").startswith(GOOD.decode())
    else:
        assert parsed.problems[0].code in {
            "compose.encoding", "compose.byte_order_mark", "compose.character", "compose.syntax", "compose.type",
        }  # fmt: skip


AMBIGUOUS = [
    "y",
    "Y",
    "yes",
    "Yes",
    "YES",
    "n",
    "N",
    "no",
    "No",
    "NO",
    "on",
    "On",
    "ON",
    "off",
    "Off",
    "OFF",
    "22:22",
    "1:20",
    "1:2:3",
    "012",
    "0o17",
    "0b101",
    "1_000",
    "00",
    "08",
    "1e3",
    "1.5e3",
    "1_0.5",
    "2001-01-01",
    "2001-1-1T1:01:01",
    "190:20:30.15",
    "-012",
    "+0b1",
    "0x_1",
    "-0x1F",
    "=",
    "<<",
]


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_what_yaml_1_1_and_1_2_read_differently_is_refused_with_the_quoted_text_as_its_fix(text: str) -> None:
    parsed = compose.parse(GOOD + f"    environment: {{A: {text}}}\n".encode())
    ambiguous = [each for each in parsed.problems if each.code == "compose.ambiguous"]
    assert len(ambiguous) == 1
    assert ambiguous[0].fix is not None
    assert ambiguous[0].fix[0].value == text
    assert compose.parse(GOOD + f'    environment: {{A: "{text}"}}\n'.encode()).manifest is not None


@pytest.mark.parametrize(
    "text", ["yess", "1.2.3", "10s", "256M", "80:80", "3000:3000", "1.5G", "v1", "nope", "0.0.0.1", "1:x", "-x", "+"]
)
def test_what_both_versions_read_as_a_text_is_one(text: str) -> None:
    parsed = compose.parse(GOOD + f"    environment: {{A: {text}}}\n".encode())
    assert parsed.manifest is not None
    assert parsed.manifest.services["web"].environment["A"] == text


@pytest.mark.parametrize(
    "twice",
    [
        "user: a\n    user: b",
        'user: a\n    "user": b',
        "user: a\n    'user': b",
        'user: a\n    "\\u0075ser": b',
        "user: a\n    ? user\n    : b",
    ],
)
def test_a_key_that_stands_twice_is_refused_however_it_is_written(twice: str) -> None:
    assert [each.code for each in compose.parse(GOOD + f"    {twice}\n".encode()).problems] == ["compose.duplicate_key"]


def test_a_duplicate_hides_nothing_in_either_value() -> None:
    parsed = compose.parse(GOOD + b"    deploy: {mode: a}\n    deploy: {placement: b}\n    privilegd: true\n")
    assert [each.code for each in parsed.problems] == [
        "compose.deploy_mode", "compose.duplicate_key", "compose.deploy_placement", "compose.unknown_key",
    ]  # fmt: skip


def test_errors_beyond_two_hundred_are_counted() -> None:
    parsed = compose.parse(GOOD + b"".join(b"    zzz%d: 1\n" % number for number in range(300)))
    assert len(parsed.problems) == 201
    assert parsed.problems[-1].code == "compose.more"
    assert parsed.problems[-1].message.startswith("100 more")


def test_depth_counts_the_root_and_scalars() -> None:
    fifteen = b"x-a: " + b"[" * 14 + b"1" + b"]" * 14
    assert compose.parse(GOOD + fifteen + b"\n").manifest is not None
    too_deep = b"x-a: " + b"[" * 15 + b"1" + b"]" * 15
    assert [each.code for each in compose.parse(GOOD + too_deep + b"\n").problems] == ["compose.too_deep"]


def test_five_thousand_nodes_are_read_and_no_more() -> None:
    def with_nodes(number: int) -> bytes:
        own = 10  # root, services, web, image and ports with their values
        items = number - own - 2
        return GOOD + b"x-a: [" + b",".join([b"a"] * items) + b"]\n"

    assert compose.parse(with_nodes(5000)).manifest is not None
    assert [each.code for each in compose.parse(with_nodes(5001)).problems] == ["compose.too_many_nodes"]


def test_scalars_are_bounded_in_bytes_not_characters() -> None:
    assert compose.parse(GOOD + "x-a: {}\n".format("é" * 8192).encode()).manifest is not None
    assert [each.code for each in compose.parse(GOOD + "x-a: {}\n".format("é" * 8193).encode()).problems] == [
        "compose.scalar_too_long"
    ]


def test_a_name_too_long_to_be_rendered_is_refused() -> None:
    longest, too_long = (GOOD + b"    environment: ['%s=x']\n" % (b"A" * number) for number in (512, 513))
    sound(compose.parse(longest))
    assert compose.parse(longest).manifest is not None
    assert [each.code for each in compose.parse(too_long).problems] == ["compose.environment_name"]

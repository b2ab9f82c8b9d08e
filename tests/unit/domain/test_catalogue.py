"""Every code is listed once, its example shows it, and no other code is ever answered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from deployments.domain import catalogue, compose, manifest
from tests.compose_documents import faulty_documents

ENTRIES = catalogue.entries()


@pytest.mark.parametrize("entry", [each for each in ENTRIES if each.form == "compose"], ids=lambda entry: entry.code)
def test_the_example_shows_its_code(entry: catalogue.Entry) -> None:
    parsed = compose.parse(entry.example.encode())
    found = parsed.problems if entry.severity == "error" else parsed.warnings
    assert entry.code in {each.code for each in found}, (found, entry.example[:500])


@pytest.mark.parametrize("entry", [each for each in ENTRIES if each.form == "manifest"], ids=lambda entry: entry.code)
def test_the_example_of_a_manifest_shows_its_code(entry: catalogue.Entry) -> None:
    assert entry.code in {each.code for each in manifest.from_json(entry.example.encode()).problems}


@settings(max_examples=200, deadline=None)
@given(faulty_documents())
def test_no_code_is_answered_that_is_not_listed(document: bytes) -> None:
    parsed = compose.parse(document)
    listed = {(entry.code, entry.severity) for entry in ENTRIES}
    assert {(each.code, each.severity) for each in (*parsed.problems, *parsed.warnings)} <= listed


def test_every_entry_says_what_and_how_to_cure_it() -> None:
    assert all(entry.title and entry.example and entry.cure for entry in ENTRIES)
    assert len({entry.code for entry in ENTRIES}) == len(ENTRIES)

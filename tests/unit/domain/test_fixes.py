"""Fixes are promises: applied together they leave strictly fewer errors, and after three rounds none has one left."""

from __future__ import annotations

from hypothesis import given, note, settings

from deployments.domain import compose
from tests import edits
from tests.compose_documents import faulty_documents


@settings(max_examples=400, deadline=None)
@given(faulty_documents())
def test_all_fixes_together_leave_strictly_fewer_errors_and_three_rounds_are_enough(document: bytes) -> None:
    parsed = compose.parse(document)
    for _ in range(3):
        found = edits.fixes(parsed.problems)
        if not found:
            return
        note(document.decode())
        note("\n".join(f"{each.code} {each.pointer} {each.fix}" for each in parsed.problems))
        document = edits.cured(document, parsed.problems)
        again = compose.parse(document)
        note("then " + "\n".join(f"{each.code} {each.pointer} {each.fix}" for each in again.problems))
        assert len(again.problems) < len(parsed.problems)
        parsed = again
    note(document.decode())
    assert not edits.fixes(parsed.problems)

"""Each row of the table keeps what it says: its examples are accepted, dropped or refused, with its own code."""

from __future__ import annotations

import pytest

from deployments.domain import compose, manifest, renderer
from tests import edits
from tests.compose_documents import Case, cases

CASES = list(cases())
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.row.decision == "accepted"], ids=lambda case: case.name
)
def test_the_example_of_an_accepted_key_parses_without_a_word(case: Case) -> None:
    parsed = compose.parse(case.document(case.row.example))
    assert parsed.manifest is not None, parsed.problems
    assert not parsed.warnings


@pytest.mark.parametrize("case", [case for case in CASES if case.row.refused], ids=lambda case: case.name)
def test_the_bad_example_of_a_key_is_refused(case: Case) -> None:
    parsed = compose.parse(case.document(case.row.refused))
    assert parsed.manifest is None
    assert all(problem.line and problem.column and problem.hint for problem in parsed.problems)


@pytest.mark.parametrize("case", [case for case in CASES if case.row.decision == "dropped"], ids=lambda case: case.name)
def test_the_example_of_a_dropped_key_gets_one_warning_and_changes_nothing(case: Case) -> None:
    parsed = compose.parse(case.document(case.row.example))
    assert [problem.code for problem in parsed.warnings] == [case.row.code], parsed
    assert parsed.manifest == compose.parse(case.document("")).manifest


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.row.decision == "rejected"], ids=lambda case: case.name
)
def test_the_example_of_a_rejected_key_has_one_problem_with_the_key_s_own_code(case: Case) -> None:
    document = case.document(case.row.example)
    parsed = compose.parse(document)
    assert {problem.code for problem in parsed.problems} <= {case.row.code, "compose.replicas_zero"}, parsed.problems
    problem = parsed.problems[0]
    assert problem.message.startswith(case.row.says) or case.row.rule is not None
    assert problem.pointer.endswith(f"/{case.row.key}")
    if problem.fix is not None:
        again = compose.parse(edits.cured(document, parsed.problems))
        assert again.manifest is not None, again.problems


def test_every_rejected_key_has_a_code_and_a_reason_of_its_own_place() -> None:
    rejected = [(case.place, case.row.code) for case in CASES if case.row.decision == "rejected"]
    assert len(rejected) == len(set(rejected))
    assert len({code for _, code in rejected}) == len(rejected)


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.row.decision == "accepted"], ids=lambda case: case.name
)
def test_what_is_accepted_goes_through_json_and_is_rendered(case: Case) -> None:
    found = compose.parse(case.document(case.row.example)).manifest
    assert found is not None
    raw = manifest.canonical(found)
    assert manifest.from_json(raw).manifest == found
    assert manifest.load(raw) == found
    pinned = manifest.pin(found, dict.fromkeys(manifest.images(found).values(), DIGEST))
    rendered = renderer.render(pinned, environment_id="0f8fad5b-d9cb-469f-a165-70867728950e", sequence=1)
    assert rendered == renderer.render(pinned, environment_id="0f8fad5b-d9cb-469f-a165-70867728950e", sequence=1)

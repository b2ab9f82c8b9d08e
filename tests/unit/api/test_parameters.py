"""Query parameters: everything wrong is told at once, by name."""

from __future__ import annotations

import re

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from deployments.api.agent.parameters import InvalidParameters, Parameters


def faults(query: str, ask: object) -> list[str]:
    parameters = Parameters(QueryDict(query))
    ask(parameters)  # type: ignore[operator]
    with pytest.raises(InvalidParameters) as refused:
        parameters.check()
    return [problem.message for problem in refused.value.problems]


@pytest.mark.parametrize("text", ["abc", "-1", "61", "1.5", "1e1", "", " 1", "٣", "9" * 400, "0x10", "\0"])
def test_a_wait_that_is_no_number_in_bounds_is_refused_by_name(text: str) -> None:
    query = QueryDict(mutable=True)
    query["wait"] = text
    (message,) = faults(query.urlencode(), lambda asked: asked.whole("wait", default=0, least=0, most=60))
    assert message.startswith("wait: ")


def test_every_fault_is_told_at_once() -> None:
    def ask(asked: Parameters) -> None:
        asked.whole("limit", default=50, least=1, most=200)
        asked.flag("dry_run")

    messages = faults("limit=0&dry_run=yes&colour=red", ask)
    assert [message.partition(":")[0] for message in messages] == ["limit", "dry_run", "colour"]


def test_a_parameter_given_twice_is_refused_and_not_chosen_from() -> None:
    (message,) = faults("limit=1&limit=2", lambda asked: asked.whole("limit", default=50, least=1, most=200))
    assert "more than once" in message


def test_a_misspelt_parameter_is_refused_and_never_ignored() -> None:
    (message,) = faults("dryrun=true", lambda asked: asked.flag("dry_run"))
    assert message.startswith("dryrun: ")


def test_an_empty_plan_hash_is_refused_because_it_would_hold_to_nothing() -> None:
    faults("plan_hash=", lambda asked: asked.plan_hash("plan_hash", max_length=128))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1700000000", "2023-11-14T22:13:20Z"),
        ("2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z"),
        ("2023-11-14T23:13:20%2B01:00", "2023-11-14T22:13:20Z"),
        ("2023-11-14T23:13:20+01:00", "2023-11-14T22:13:20Z"),  # a + that nobody escaped
        ("2023-11-14T22:13:20.5Z", "2023-11-14T22:13:20.500000Z"),
        ("", ""),
    ],
)
def test_a_moment_is_unix_seconds_or_rfc_3339(text: str, moment: str) -> None:
    parameters = Parameters(QueryDict(f"since={text}"))
    assert parameters.moment("since") == moment
    parameters.check()


@given(st.text(max_size=60))
def test_no_text_makes_a_reader_fail_otherwise_than_by_refusing(text: str) -> None:
    query = QueryDict(mutable=True)
    query["x"] = text
    for read in (
        lambda asked: asked.moment("x"),
        lambda asked: asked.whole("x", default=0, least=0, most=60),
        lambda asked: asked.flag("x"),
        lambda asked: asked.text("x", max_length=10),
        lambda asked: asked.matching("x", re.compile("[a-z]+"), "letters"),
        lambda asked: asked.choice("x", ("a", "b"), default="a"),
    ):
        parameters = Parameters(query)
        read(parameters)
        try:
            parameters.check()
        except InvalidParameters as refused:
            assert all(problem.message for problem in refused.problems)

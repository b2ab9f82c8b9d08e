"""The rules on volumes, and the helper that creates exactly once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import idempotent, rules
from providers.errors import InvalidRequest, PreconditionFailed, SpecMismatch
from providers.operations import operation, state_of
from providers.ports import Capabilities, Outcome, ResourceKey, Volume, VolumeConstraints, VolumeState

LIMITS = VolumeConstraints(min_gb=10, max_gb=100, step_gb=5, max_attached_per_server=2)
KEY = ResourceKey("i", "e", "data")
VOLUME = Volume("1", KEY, "n", "here", 20, VolumeState.AVAILABLE, created_at=datetime(2026, 1, 1, tzinfo=UTC))
CAPABILITIES = Capabilities((), (), LIMITS, 1024, unique_names=True, device_path_known_before_attach=True)


@given(st.one_of(st.none(), st.integers(1, 1000)))
def test_a_rounded_size_is_orderable_and_the_least_that_is_enough(size_gb: int | None) -> None:
    rounded = rules.rounded_size(size_gb, LIMITS)

    assert rounded >= max(size_gb or 10, LIMITS.min_gb)
    assert rounded % LIMITS.step_gb == 0
    assert rounded - LIMITS.step_gb < max(size_gb or 10, LIMITS.min_gb)


@pytest.mark.parametrize(("size_gb", "grows"), [(20, False), (25, True), (100, True)])
def test_a_volume_grows_only_when_it_has_to(size_gb: int, grows: bool) -> None:
    assert rules.needs_growth(VOLUME, size_gb, CAPABILITIES) is grows


@pytest.mark.parametrize("size_gb", [15, 19, 21, 101, 0, -5])
def test_a_volume_neither_shrinks_nor_takes_an_odd_size(size_gb: int) -> None:
    with pytest.raises(InvalidRequest):
        rules.needs_growth(VOLUME, size_gb, CAPABILITIES)


def test_where_only_detached_volumes_grow_an_attached_one_is_refused() -> None:
    detached_only = replace(CAPABILITIES, volumes=replace(LIMITS, resize_while_attached=False))

    assert rules.needs_growth(VOLUME, 25, detached_only)
    with pytest.raises(PreconditionFailed):
        rules.needs_growth(replace(VOLUME, server_id="s"), 25, detached_only)


def test_nothing_found_is_created_and_one_found_is_resumed() -> None:
    made = idempotent.create_once(found=[], differences=lambda v: "", create=lambda: Outcome(VOLUME), resume=Outcome)
    assert made.value is VOLUME

    resumed = idempotent.create_once(found=[VOLUME], differences=lambda v: "", create=_never, resume=Outcome)
    assert resumed.value is VOLUME


def test_one_found_that_differs_is_a_mismatch_and_nothing_is_created() -> None:
    with pytest.raises(SpecMismatch) as mismatch:
        idempotent.create_once(found=[VOLUME], differences=lambda v: "too small", create=_never, resume=_never)
    assert mismatch.value.resource_id == "1"


def test_of_several_the_oldest_counts_whoever_looks() -> None:
    younger = replace(VOLUME, id="0", created_at=datetime(2026, 1, 2, tzinfo=UTC))
    same_age = replace(VOLUME, id="2")
    ageless = replace(VOLUME, id="3", created_at=None)

    for found in ([younger, same_age, VOLUME, ageless], [ageless, VOLUME, younger, same_age]):
        outcome = idempotent.create_once(found=found, differences=lambda v: "", create=_never, resume=Outcome)
        assert (outcome.value.id, outcome.surplus) == ("1", ("2", "0", "3"))


def _never(*_: object) -> Outcome[Volume]:
    raise AssertionError("not to be called")


def test_an_operation_keeps_its_state_and_says_when_it_is_overdue() -> None:
    state = {"deadline": 100, "what": "growing volume 7", "last": "creating"}

    early, late = operation(state, poll_seconds=2, now=99), operation(state, poll_seconds=2, now=101)

    assert state_of(late) == {**state, "polls": 0}
    assert early.overdue == ""
    assert "growing volume 7" in late.overdue
    assert "creating" in late.overdue


def test_an_operation_is_polled_ever_more_seldom_up_to_a_bound() -> None:
    """2 s at first, 10 s in the end: a cloud grants 3,600 requests an hour."""
    current = operation({}, poll_seconds=2, now=0)
    waits = [current.poll_after_s]
    for _ in range(2000):
        current = operation(state_of(current), poll_seconds=2, now=0)
        waits.append(current.poll_after_s)

    assert waits[0] == 2
    assert waits == sorted(waits)
    assert waits[10:] == [10.0] * len(waits[10:])


def test_a_token_that_could_not_be_stored_is_refused_when_it_is_made() -> None:
    with pytest.raises(ValueError, match="1024"):
        operation({"what": "x" * 2000}, poll_seconds=1, now=0)

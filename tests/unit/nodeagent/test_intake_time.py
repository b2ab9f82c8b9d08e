"""A clock that runs a little behind is helped by what the control plane signed; one that was set back is not."""

from __future__ import annotations

import time

import pytest

from nodeagent import intake


@pytest.mark.parametrize(
    ("ahead_seconds", "helped"),
    [(-30, False), (0, False), (1, True), (intake.MAX_SKEW_SECONDS, True), (intake.MAX_SKEW_SECONDS + 1, False)],
)
def test_the_time_of_acceptance_is_the_later_of_two_that_nearly_agree(
    ahead_seconds: int, helped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.9)
    signed = 1_800_000_000 + ahead_seconds

    assert intake._time_of_acceptance(signed) == (signed if helped else 1_800_000_000)

"""What a container's state means for its service."""

from __future__ import annotations

from typing import Any

import pytest

from nodeagent import health
from nodeagent.bundles import HttpCheck, Service, seconds
from nodeagent.containers import Container, timestamp

WEB = Service("web", "h/p@sha256:1", 1, False, "start-first", {}, False, None, (), ())
JOB = Service("seed", "h/p@sha256:1", 1, True, "start-first", {}, False, None, (), ())
ASKED = Service("web", "h/p@sha256:1", 1, False, "start-first", {}, False, HttpCheck(80, "/"), (), ())


def container(**changes: Any) -> Container:
    found: dict[str, Any] = {
        "id": "c", "environment_id": "e", "service": "web", "release": 1, "role": "", "state": "running",
        "health": "none", "exit_code": None, "restarts": 0, "image_id": "i", "started_at": 1.0, "error": "",
        "stop_seconds": 10,
    }  # fmt: skip
    return Container(**found | changes)


@pytest.mark.parametrize(
    ("service", "found", "answered", "expected"),
    [
        (WEB, None, None, ("waiting", "missing")),
        (WEB, container(), None, ("good", "running-no-check")),
        (WEB, container(health="starting"), None, ("waiting", "starting")),
        (WEB, container(health="healthy"), None, ("good", "healthy")),
        (WEB, container(health="unhealthy"), None, ("bad", "unhealthy")),
        (WEB, container(state="created"), None, ("waiting", "starting")),
        (WEB, container(state="exited", exit_code=0), None, ("bad", "exited")),
        (WEB, container(state="restarting", exit_code=1), None, ("bad", "restarting")),
        (WEB, container(restarts=1, health="healthy"), None, ("bad", "restarting")),
        (ASKED, container(), None, ("waiting", "starting")),
        (ASKED, container(), False, ("waiting", "unhealthy")),
        (ASKED, container(), True, ("good", "healthy")),
        (JOB, container(state="running"), None, ("waiting", "starting")),
        (JOB, container(state="exited", exit_code=0), None, ("good", "completed")),
        (JOB, container(state="exited", exit_code=2), None, ("bad", "exited")),
    ],
)
def test_each_state_has_its_verdict(
    service: Service, found: Container | None, answered: bool | None, expected: tuple[str, str]
) -> None:
    verdict = health.judge(service, found, answered)
    assert (verdict.judgement, verdict.meaning) == expected


def test_restarts_from_before_the_apply_are_not_held_against_a_service() -> None:
    assert health.judge(WEB, container(restarts=3, health="healthy"), None, restarts_before=3).judgement == "good"


def test_a_bad_verdict_says_why() -> None:
    killed = container(state="exited", exit_code=137, error="killed for want of memory")
    assert health.judge(WEB, killed, None).why == "web ended with exit code 137: killed for want of memory"


def test_settle_times_are_one_second_with_a_check_five_without_and_none_for_jobs() -> None:
    verdicts = [health.Verdict("good", meaning) for meaning in ("healthy", "running-no-check", "completed")]
    assert [v.settle_seconds for v in verdicts] == [1.0, 5.0, 0.0]


@pytest.mark.parametrize(("text", "expected"), [("1m30s", 90), ("500ms", 0.5), ("1h0m1.5s", 3601.5), ("0s", 0)])
def test_durations_are_read_as_compose_writes_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_dockers_times_are_read_to_the_nanosecond_and_never_as_zero() -> None:
    assert timestamp("1970-01-01T00:00:01.500000000Z") == 1.5
    assert timestamp("0001-01-01T00:00:00Z") == timestamp("") == 0.0

"""Evidence says of each service what its container looked like, also of those whose turn had not come."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nodeagent import evidence
from tests.unit.nodeagent_engine.test_health import JOB, WEB, container

BUNDLE: Any = SimpleNamespace(services={"web": WEB, "seed": JOB})
ENGINE: Any = SimpleNamespace(observed_digest=lambda found, expected: expected)


@pytest.mark.parametrize(
    ("web", "expected"),
    [
        (container(), ("running", "running-no-check")),
        (container(state="created"), ("created", "starting")),
        (None, ("missing", "missing")),
    ],
)
def test_only_a_container_that_is_gone_is_missing(web: Any, expected: tuple[str, str]) -> None:
    found = {"web": web} if web else {}
    told = evidence.gather(ENGINE, BUNDLE, found, {"seed": "exited"}, redact=str, with_logs=False)
    assert (told["web"].state, told["web"].meaning) == expected
    assert told["seed"].meaning == "missing"

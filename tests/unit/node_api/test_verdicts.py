"""What a receipt of success has to say before a release is live."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.domain.manifest import Healthcheck, HttpCheck, Manifest, Route, Service
from deployments.services import verdicts
from nodeagent.wire.receipt import Receipt, ServiceEvidence
from nodeagent.wire.redaction import Redactor
from nodeagent.wire.statement import Statement
from tests.node_client import healthy, receipt_for

DIGEST, OTHER = "sha256:" + "a" * 64, "sha256:" + "b" * 64
CONTENT = Manifest(
    services={"web": Service(image=f"r/web@{DIGEST}"), "job": Service(image=f"r/job@{OTHER}", restart="no")},
    routes=(Route("web", 80, "public"),),
)
STATEMENT = Statement(
    v=1, node_id="n", environment_id="00000000-0000-4000-8000-000000000001", generation=1, seq=7, action="apply",
    release_digest=DIGEST, previous_release_digest="", issued_at=1, expires_at=2, keyset_version=1,
    compose_sha256=DIGEST, routes_sha256=DIGEST, volumes_sha256=DIGEST, sealed_sha256=DIGEST,
)  # fmt: skip
DONE = healthy(OTHER, meaning="completed", state="exited", health="none", exit_code=0)


def _word(**services: ServiceEvidence) -> Receipt:
    return receipt_for(STATEMENT, {"web": healthy(DIGEST), "job": DONE} | services)


def _checked(check: Healthcheck | None) -> Manifest:
    return replace(CONTENT, services={**CONTENT.services, "web": replace(CONTENT.services["web"], healthcheck=check)})


@pytest.mark.parametrize(
    ("check", "web"),
    [
        (None, healthy(DIGEST)),  # the image's own check
        (None, healthy(DIGEST, meaning="running-no-check", health="none")),
        (Healthcheck(test=("NONE",)), healthy(DIGEST, meaning="running-no-check", health="none")),
        (Healthcheck(test=("CMD", "true")), healthy(DIGEST, restarts=3)),
        (Healthcheck(http=HttpCheck("/", 80)), healthy(DIGEST, health="none")),
        (Healthcheck(http=HttpCheck("/", 80)), healthy(DIGEST, health="starting")),
    ],
)
def test_running_as_its_definition_asks_at_the_digest_of_the_manifest_is_proof(
    check: Healthcheck | None, web: ServiceEvidence
) -> None:
    assert verdicts.contradiction(_word(web=web), _checked(check)) is None


@pytest.mark.parametrize(
    ("check", "changes", "why"),
    [
        (None, {"health": "starting"}, "observed running, health starting"),
        (None, {"health": "none"}, "observed running, health none"),
        (None, {"meaning": "running-no-check", "health": "unhealthy"}, "observed running, health unhealthy"),
        (Healthcheck(test=("CMD", "true")), {"meaning": "running-no-check", "health": "none"}, "well means healthy"),
        (Healthcheck(http=HttpCheck("/", 80)), {"meaning": "running-no-check", "health": "none"}, "means healthy"),
        (None, {"meaning": "starting"}, "observed as starting"),
        (None, {"meaning": ""}, "observed as nothing"),
        (None, {"state": "exited"}, "observed exited"),
        (None, {"state": "missing", "meaning": "completed", "observed_digest": ""}, "observed as completed"),
        (None, {"expected_digest": OTHER}, "was expected at"),
        (None, {"observed_digest": OTHER}, "was observed at"),
        (None, {"observed_digest": ""}, "observed at no digest"),
        (None, {"meaning": "completed", "state": "exited", "health": "none", "exit_code": 0}, "as completed"),
    ],
)
def test_anything_less_is_a_contradiction_that_names_the_service(
    check: Healthcheck | None, changes: dict[str, Any], why: str
) -> None:
    problem = verdicts.contradiction(_word(web=healthy(DIGEST, **changes)), _checked(check))
    assert problem is not None
    assert problem.startswith("Service web ")
    assert why in problem


def test_a_job_that_an_earlier_release_ran_needs_no_container_and_one_of_this_release_does() -> None:
    word = _word(job=replace(DONE, state="missing", exit_code=None, observed_digest=""))
    assert verdicts.contradiction(word, CONTENT, unchanged={"job"}) is None
    assert "observed missing" in (verdicts.contradiction(word, CONTENT) or "")


def test_a_job_that_still_runs_is_a_contradiction() -> None:
    assert "well means completed" in (verdicts.contradiction(_word(job=healthy(OTHER)), CONTENT) or "")


def test_a_job_that_ended_with_another_exit_code_is_a_contradiction() -> None:
    problem = verdicts.contradiction(_word(job=replace(DONE, exit_code=3)), CONTENT)
    assert problem == "Service job is called completed and ended with 3"


def test_a_service_that_is_missing_or_too_many_is_a_contradiction() -> None:
    missing = replace(_word(), services={"web": healthy(DIGEST)})
    assert verdicts.contradiction(missing, CONTENT) == "Its services are not those of the manifest: job"
    assert "more" in (verdicts.contradiction(_word(more=healthy(DIGEST)), CONTENT) or "")


def test_success_while_another_sequence_serves_is_a_contradiction() -> None:
    assert "sequence 6 serves" in (verdicts.contradiction(replace(_word(), serving_seq=6), CONTENT) or "")


def test_evidence_hides_secrets_in_the_summary_and_in_every_log_tail() -> None:
    word = replace(_word(web=healthy(DIGEST, log_tail="it was hunter22\0")), summary="hunter22 was wrong")
    kept = verdicts.evidence(word, hidden=Redactor(["hunter22"]))
    assert "hunter22" not in str(kept)
    assert kept["services"]["web"]["log_tail"].endswith("\N{REPLACEMENT CHARACTER}")


@pytest.mark.parametrize(
    ("outcome", "code", "kept"),
    [("live", "", ""), ("failed", "", "apply.failed"), ("failed", "pull.denied", "pull.denied")],
)
def test_a_failure_always_has_a_code(outcome: Any, code: str, kept: str) -> None:
    word = replace(_word(), outcome=outcome, code=code)
    assert verdicts.evidence(word, hidden=Redactor([]))["code"] == kept


def test_a_contradiction_is_what_the_evidence_tells() -> None:
    kept = verdicts.evidence(_word(), hidden=Redactor([]), problem="Service web is unwell")
    assert kept["code"] == "receipt.inconsistent"
    assert "Service web is unwell." in kept["summary"]

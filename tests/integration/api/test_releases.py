"""Releases through the API: submitted, read back, listed, cancelled, rolled back."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from deployments.domain.states import ReleaseStatus
from deployments.models import Environment, Release
from deployments.services import environments, values
from tests.callers import COMPOSE, DIGEST, HOST, Caller, accepted, assert_problem, became
from tests.situations import BY, at_once

pytestmark = pytest.mark.django_db
RELEASES = "/environments/production/releases/"


def read(response: Any) -> Any:
    assert response.status_code < 300, response.content
    return json.loads(response.content)


def test_a_compose_file_becomes_release_one(caller: Caller) -> None:
    response = caller.submit("production")
    body = read(response)
    assert response.status_code == 201
    assert body["sequence"] == 1
    assert body["status"] in ("accepted", "waiting")
    assert body["evidence"] is None
    assert body["submitted_by"]["token"] == caller.id
    assert read(caller.get(f"{RELEASES}1/")) == body


@pytest.mark.parametrize(
    "media_type",
    [
        "application/yaml",
        "application/x-yaml",
        "text/yaml",
        "text/x-yaml",
        "application/yaml; charset=utf-8",
        "Application/YAML",
    ],
)
def test_compose_comes_under_each_of_its_names(caller: Caller, media_type: str) -> None:
    assert caller.submit("production", content_type=media_type).status_code == 201


@pytest.mark.parametrize(
    "media_type", ["", "text/html", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_other_media_types_are_415_with_the_right_one_named(caller: Caller, media_type: str) -> None:
    body = assert_problem(caller.submit("production", content_type=media_type), 415, "request.media_type")
    assert "application/yaml" in body["detail"]


def test_the_manifest_comes_back_as_the_bytes_that_the_digest_is_of_and_is_accepted_again(caller: Caller) -> None:
    release = read(caller.submit("production"))
    response = caller.get(f"{RELEASES}1/manifest/")
    assert response["Content-Type"] == "application/json"
    assert "sha256:" + hashlib.sha256(response.content).hexdigest() == release["manifest_digest"]
    assert json.loads(response.content)["services"]["web"]["image"] == f"{HOST}/shop/web@{DIGEST}"
    again = caller.submit("production", response.content, content_type="application/json")
    assert read(again)["manifest_digest"] == release["manifest_digest"]


def test_a_dry_run_answers_the_plan_and_stores_nothing(caller: Caller) -> None:
    response = caller.submit("production", query="?dry_run=true")
    plan = read(response)
    assert response.status_code == 200
    assert not Release.objects.exists()
    assert plan["downtime"] in ("none", "brief", "stop-first")
    assert plan["missing_secrets"] == []
    followed = caller.submit("production", query=f"?plan_hash={plan['plan_hash']}")
    assert followed.status_code == 201


def test_a_plan_is_stale_once_anything_has_moved(caller: Caller) -> None:
    plan = read(caller.submit("production", query="?dry_run=true"))
    caller.submit("production")
    response = caller.submit("production", query=f"?plan_hash={plan['plan_hash']}")
    assert_problem(response, 409, "plan.stale")


@pytest.mark.parametrize(
    "query", ["?plan_hash=", "?dry_run=yes", "?dry_run=true&plan_hash=x", "?dryrun=true", "?dry_run=true&dry_run=false"]
)
def test_a_query_that_could_be_misread_is_refused_and_nothing_is_stored(caller: Caller, query: str) -> None:
    assert_problem(caller.submit("production", query=query), 400, "request.parameter")
    assert not Release.objects.exists()


def test_every_problem_comes_at_once_with_its_place(caller: Caller) -> None:
    document = (
        f"x-sam-worker: true\nservices:\n  web:\n    image: {HOST}/shop/web:1\n    privileged: true\n    colour: red\n"
    )
    body = assert_problem(caller.submit("production", document), 422, "submission.invalid")
    assert len(body["problems"]) == 2
    for problem in body["problems"]:
        assert set(problem) == {"code", "severity", "pointer", "line", "column", "message", "hint", "fix", "docs"}
        assert problem["line"] in (5, 6)
    assert not Release.objects.exists()


def test_a_missing_image_and_a_missing_name_are_problems_at_their_pointers(caller: Caller) -> None:
    document = (
        f"x-sam-worker: true\nservices:\n  web:\n    image: {HOST}/shop/web:2\n    environment:\n      KEY: ${{KEY}}\n"
    )
    body = assert_problem(caller.submit("production", document), 422, "submission.invalid")
    assert {(problem["code"], problem["pointer"]) for problem in body["problems"]} == {
        ("image.not_found", "/services/web/image"),
        ("reference.unset", "/services/web/environment/KEY"),
    }


def test_a_file_beyond_64_kib_is_413_and_one_of_64_kib_is_looked_into(caller: Caller) -> None:
    filled = COMPOSE + "#" * (64 * 1024 - len(COMPOSE) - 1) + "\n"
    assert caller.submit("production", filled).status_code == 201
    assert_problem(caller.submit("production", filled + "\n"), 413, "request.too_large")
    assert_problem(caller.submit("production", "#" * 3_000_000), 413, "request.too_large")


@pytest.mark.parametrize(
    "document", [" ", "\n", "[]", "null", "\ufeff" + COMPOSE, "a: [", "[" * 60_000, "? ? ?", "&a [*a]"]
)
def test_what_is_no_compose_file_is_refused_with_problems(caller: Caller, document: str) -> None:
    for media_type in ("application/yaml", "application/json"):
        body = assert_problem(caller.submit("production", document, content_type=media_type), 422, "submission.invalid")
        assert body["problems"]
    assert not Release.objects.exists()


def test_bytes_that_are_no_text_are_refused_with_problems(caller: Caller) -> None:
    for media_type in ("application/yaml", "application/json"):
        response = caller("POST", RELEASES, data=b"\xff\xfe\x00\x01", content_type=media_type)
        assert_problem(response, 422, "submission.invalid")


def test_a_closed_gate_and_a_stopped_environment_refuse_and_store_nothing(
    caller: Caller, environment: Environment
) -> None:
    environments.set_gate(environment=environment, is_open=False, by=BY)
    assert_problem(caller.submit("production"), 403, "gate.closed")
    environments.set_gate(environment=environment, is_open=True, by=BY)
    environments.stop(environment=environment, by=BY)
    assert_problem(caller.submit("production"), 409, "environment.not_active")
    assert not Release.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_twelve_at_once_are_numbered_without_gaps(caller: Caller) -> None:
    responses: list[Any] = at_once([lambda: caller.submit("production")] * 12)
    assert sorted(read(response)["sequence"] for response in responses) == list(range(1, 13))


def test_lists_are_newest_first_and_paged_without_a_gap(caller: Caller, environment: Environment) -> None:
    for _ in range(5):
        accepted(environment)
    seen: list[int] = []
    cursor = ""
    while True:
        page = read(caller.get(f"{RELEASES}?limit=2{cursor}"))
        seen += [release["sequence"] for release in page["results"]]
        assert set(page) == {"results", "next"}
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
        accepted(environment)  # what comes meanwhile moves no page
    assert seen == [5, 4, 3, 2, 1]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=201",
        "limit=x",
        "cursor=x",
        "cursor=WzFd",
        "cursor=" + "A" * 400,
        "offset=3",
        "cursor=WyJcdTAwMDAiXQ",
    ],
)
def test_a_list_refuses_bounds_and_cursors_that_are_none(caller: Caller, query: str) -> None:
    body = assert_problem(caller.get(f"{RELEASES}?{query}"), 400, "request.parameter")
    assert query.partition("=")[0] in body["detail"]


def test_the_story_of_a_release_is_readable_in_both_directions(caller: Caller, environment: Environment) -> None:
    release = accepted(environment)
    became(release, ReleaseStatus.WAITING, ReleaseStatus.OFFERED, ReleaseStatus.APPLYING)
    newest = read(caller.get(f"{RELEASES}1/events/"))["results"]
    oldest = read(caller.get(f"{RELEASES}1/events/?order=oldest"))["results"]
    kinds = [event["kind"] for event in oldest]
    assert kinds == ["release:accepted", "release:waiting", "release:offered", "release:applying"]
    assert newest == oldest[::-1]
    first = read(caller.get(f"{RELEASES}1/events/?order=oldest&limit=3"))
    rest = read(caller.get(f"{RELEASES}1/events/?order=oldest&limit=3&cursor={first['next']}"))
    assert first["results"] + rest["results"] == oldest


def test_a_secret_is_in_no_answer(caller: Caller, environment: Environment) -> None:
    canary = b"canary-9d1f7c"
    values.set_value(environment=environment, kind="secret", name="API_KEY", value=canary, by=BY)
    document = COMPOSE + "    environment:\n      KEY: ${API_KEY}\n"
    responses = [caller.submit("production", document, query="?dry_run=true"), caller.submit("production", document)]
    paths = ["", "1/", "1/manifest/", "1/compose/", "1/events/"]
    responses += [caller.get(RELEASES + path) for path in paths]
    responses.append(caller.get("/environments/production/"))
    for response in responses:
        assert response.status_code in (200, 201), response.content
        assert canary not in response.content
    assert json.loads(responses[-1].content)["secrets"] == ["API_KEY"]


def test_the_compose_file_is_yaml_for_whoever_asks_for_it(caller: Caller) -> None:
    caller.submit("production")
    for headers in ({}, {"Accept": "application/yaml"}, {"Accept": "application/json"}):
        response = caller.get(f"{RELEASES}1/compose/", headers=headers)
        assert response["Content-Type"] == "application/yaml"
        assert b'"services":' in response.content


def test_cancelling_what_waits_ends_it_and_what_is_settled_is_409(caller: Caller) -> None:
    caller.submit("production")
    assert read(caller.post(f"{RELEASES}1/cancel/"))["status"] == "cancelled"
    assert_problem(caller.post(f"{RELEASES}1/cancel/"), 409, "release.settled")


def live(environment: Environment) -> Release:
    release = became(accepted(environment), ReleaseStatus.OFFERED, ReleaseStatus.APPLYING)
    for old in environment.releases.filter(status=ReleaseStatus.LIVE):
        became(old, ReleaseStatus.SUPERSEDED)
    return became(release, ReleaseStatus.LIVE, was_live=True)


def test_rolling_back_makes_a_new_release_of_the_one_before(caller: Caller, environment: Environment) -> None:
    live(environment)
    live(environment)
    response = caller.post("/environments/production/rollback/")
    body = read(response)
    assert response.status_code == 201
    assert (body["sequence"], body["rollback_of"]) == (3, 1)


def test_rolling_back_to_what_never_was_live_or_never_was_is_refused(caller: Caller, environment: Environment) -> None:
    path = "/environments/production/rollback/"
    assert_problem(caller.post(path), 409, "rollback.never_live")
    accepted(environment)
    assert_problem(caller.post(path, {"to_sequence": 1}), 409, "rollback.never_live")
    assert_problem(caller.post(path, {"to_sequence": 7}), 404, "not_found")


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "null",
        '"x"',
        "{",
        '{"to_sequence": "1"}',
        '{"to_sequence": 1.5}',
        '{"to_sequence": 0}',
        '{"to_sequence": true}',
        '{"to_sequence": 1e400}',
        '{"to": 1}',
        '{"to_sequence": 99999999999999999999}',
        "[" * 10_000,
        b"\xff",
    ],
)
def test_a_rollback_body_that_is_none_is_refused_with_its_pointer(caller: Caller, body: str | bytes) -> None:
    response = caller("POST", "/environments/production/rollback/", data=body, content_type="application/json")
    refused = assert_problem(response, 422, "submission.invalid")
    assert refused["problems"][0]["code"] == "request.body"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sessions/"),
        ("PATCH", "/sessions/x/"),
        ("POST", "/sessions/x/messages/"),
        ("GET", "/profiles/"),
        ("GET", "/profiles/codex/launch/"),
    ],
)
def test_what_comes_later_is_refused_as_that(caller: Caller, method: str, path: str) -> None:
    body = assert_problem(caller(method, path), 501, "feature.later")
    assert not body["retryable"]


@pytest.mark.parametrize("path", ["registry-credentials/", "releases/1/cancel/"])
def test_a_call_that_takes_no_body_refuses_one_and_does_nothing(caller: Caller, path: str) -> None:
    caller.submit("production")
    refused = assert_problem(caller.post(f"/environments/production/{path}", {"ttl": 60}), 422, "submission.invalid")
    assert refused["problems"][0]["pointer"] == "/ttl"
    assert Release.objects.get().status != ReleaseStatus.CANCELLED


def test_faults_of_the_file_and_of_the_environment_come_in_one_answer(caller: Caller, environment: Environment) -> None:
    document = """\
services:
  web:
    image: elsewhere.example/shop/web:1
    privileged: true
    ports: ["3000"]
    environment: {KEY: "${UNSET}"}
  worker:
    image: not a reference
    deploy: {resources: {limits: {memory: 900G}}}
"""
    answer = caller.submit("production", document)
    assert answer.status_code == 422
    found = {(problem["code"], problem["line"]) for problem in answer.json()["problems"]}
    assert {("image.outside_namespace", 3), ("compose.privileged", 4), ("reference.unset", 6)} <= found
    places = [(problem["line"], problem["column"]) for problem in answer.json()["problems"]]
    assert places == sorted(places)


def test_a_closed_gate_is_closed_for_cancelling_too(caller: Caller, environment: Environment) -> None:
    release = accepted(environment)
    environments.set_gate(environment=environment, is_open=False, by={"operator": "tests"})
    assert_problem(caller.post(f"/environments/production/releases/{release.sequence}/cancel/"), 403, "gate.closed")
    environments.set_gate(environment=environment, is_open=True, by={"operator": "tests"})
    assert caller.post(f"/environments/production/releases/{release.sequence}/cancel/").status_code == 200

"""The same write sent twice is done once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments.api.agent import idempotency
from deployments.models import Environment, IdempotentCall, Release
from deployments.services import environments, releases
from registry.errors import RegistryUnavailable
from tests.callers import COMPOSE, Caller, Registry, assert_problem
from tests.situations import BY, at_once

pytestmark = pytest.mark.django_db(transaction=True)
KEY = {"Idempotency-Key": "3f6c"}


def test_the_same_key_and_body_gets_the_first_answer_again_with_its_status(caller: Caller) -> None:
    first = caller.submit("production", headers=KEY)
    assert first.status_code == 201, first.content
    again = caller.submit("production", headers=KEY)
    assert again.status_code == 201
    assert json.loads(again.content) == json.loads(first.content)
    assert again["Idempotency-Replayed"] == "true"
    assert Release.objects.count() == 1


def test_the_first_answer_comes_again_whatever_has_become_of_the_release(caller: Caller) -> None:
    first = caller.submit("production", headers=KEY)
    caller.submit("production")
    assert json.loads(caller.submit("production", headers=KEY).content) == json.loads(first.content)
    assert Release.objects.count() == 2


def test_another_body_or_another_call_under_the_same_key_is_422(caller: Caller, staging: Environment) -> None:
    caller.submit("production", headers=KEY)
    assert_problem(caller.submit("production", COMPOSE + "# more\n", headers=KEY), 422, "idempotency.mismatch")
    assert_problem(caller.submit("staging", headers=KEY), 422, "idempotency.mismatch")
    assert_problem(caller.submit("production", query="?dry_run=true", headers=KEY), 422, "idempotency.mismatch")
    assert_problem(caller.post("/environments/production/rollback/", {}, headers=KEY), 422, "idempotency.mismatch")
    assert Release.objects.count() == 1


def test_one_tokens_key_is_not_anothers(caller: Caller, token: Callable[..., Caller]) -> None:
    caller.submit("production", headers=KEY)
    assert token().submit("production", headers=KEY).status_code == 201
    assert Release.objects.count() == 2


def test_a_refusal_is_not_kept(caller: Caller, environment: Environment) -> None:
    environments.set_gate(environment=environment, is_open=False, by=BY)
    assert_problem(caller.submit("production", headers=KEY), 403, "gate.closed")
    assert not IdempotentCall.objects.exists()
    environments.set_gate(environment=environment, is_open=True, by=BY)
    assert caller.submit("production", headers=KEY).status_code == 201


def test_a_faulty_file_can_be_mended_under_the_same_key(caller: Caller) -> None:
    assert_problem(caller.submit("production", "services: [", headers=KEY), 422, "submission.invalid")
    assert caller.submit("production", headers=KEY).status_code == 201


def test_a_plan_stores_nothing_and_uses_up_no_key(caller: Caller) -> None:
    assert caller.submit("production", query="?dry_run=true", headers=KEY).status_code == 200
    assert not IdempotentCall.objects.exists()
    assert caller.submit("production", headers=KEY).status_code == 201


def test_credentials_are_never_kept(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        caller.post("/environments/production/registry-credentials/", headers=KEY)
    assert not IdempotentCall.objects.exists()


def test_twenty_at_once_under_one_key_make_one_release(caller: Caller) -> None:
    responses: list[Any] = at_once([lambda: caller.submit("production", headers=KEY)] * 20)
    assert Release.objects.count() == 1
    assert {response.status_code for response in responses} <= {201, 409}
    bodies = [json.loads(response.content) for response in responses if response.status_code == 201]
    assert bodies
    assert all(body == bodies[0] for body in bodies)
    for response in responses:
        if response.status_code == 409:
            assert assert_problem(response, 409, "idempotency.in_flight")["retryable"]
            assert response["Retry-After"]


def test_while_the_first_is_at_work_the_second_is_409(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    submit = releases.submit
    seen: list[Any] = []

    def slow(**names: Any) -> Any:
        seen.append(caller.submit("production", headers=KEY))
        return submit(**names)

    monkeypatch.setattr(releases, "submit", slow)
    assert caller.submit("production", headers=KEY).status_code == 201
    assert_problem(seen[0], 409, "idempotency.in_flight")


def test_a_call_that_failed_for_a_while_can_be_sent_again(caller: Caller, registry: Registry, monkeypatch: Any) -> None:
    def away(wanted: Any) -> Any:
        raise RegistryUnavailable("127.0.0.1:5000", "it does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "resolve_many", away)
        assert_problem(caller.submit("production", headers=KEY), 503, "registry.unavailable")
    assert caller.submit("production", headers=KEY).status_code == 201


def crashed_after(monkeypatch: pytest.MonkeyPatch, caller: Caller, *, before_storing: bool) -> IdempotentCall:
    """A server that dies in the middle of a call: its claim stays behind, and nobody answers."""

    class Killed(BaseException):
        pass

    submit = releases.submit

    def dying(**names: Any) -> Any:
        if not before_storing:
            submit(**names)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(releases, "submit", dying)
        # A dead process lets go of nothing.
        patch.setattr(IdempotentCall.objects.all().__class__, "delete", lambda self: (0, {}))
        with pytest.raises(Killed):
            caller.submit("production", headers=KEY)
    return IdempotentCall.objects.get()


@pytest.mark.parametrize("before_storing", [True, False])
def test_after_a_crash_the_retry_does_it_exactly_once(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, before_storing: bool
) -> None:
    claim = crashed_after(monkeypatch, caller, before_storing=before_storing)
    assert_problem(caller.submit("production", headers=KEY), 409, "idempotency.in_flight")
    lease = timedelta(seconds=idempotency.LEASE_SECONDS + 1)
    IdempotentCall.objects.filter(pk=claim.pk).update(created_at=timezone.now() - lease)
    again = caller.submit("production", headers=KEY)
    assert again.status_code == 201, again.content
    assert json.loads(again.content)["sequence"] == 1
    assert Release.objects.count() == 1
    assert caller.submit("production", headers=KEY)["Idempotency-Replayed"] == "true"


def test_after_24_hours_a_key_is_new(caller: Caller) -> None:
    caller.submit("production", headers=KEY)
    IdempotentCall.objects.update(created_at=timezone.now() - idempotency.KEPT - timedelta(seconds=1))
    assert caller.submit("production", headers=KEY).status_code == 201
    assert Release.objects.count() == 2


@pytest.mark.parametrize("key", ["", "a b", "é", "x" * 256, "\t"])
def test_a_key_that_is_none_is_refused(caller: Caller, key: str) -> None:
    assert_problem(caller.submit("production", headers={"Idempotency-Key": key}), 400, "idempotency.key_invalid")
    assert not Release.objects.exists()


def test_cancelling_twice_under_one_key_answers_twice(caller: Caller) -> None:
    caller.submit("production")
    path = "/environments/production/releases/1/cancel/"
    first = caller.post(path, headers=KEY)
    assert first.status_code == 200
    assert json.loads(first.content)["status"] == "cancelled"
    assert caller.post(path, headers=KEY).status_code == 200
    assert_problem(caller.post(path), 409, "release.settled")

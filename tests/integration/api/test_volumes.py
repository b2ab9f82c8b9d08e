"""Volumes through the API: listed, ordered within the policy, once for each key."""

from __future__ import annotations

import json

import pytest

from deployments.models import Environment, Volume
from tests.callers import Caller, assert_problem

PATH = "/environments/production/volumes/"
pytestmark = pytest.mark.django_db(transaction=True)


def test_a_volume_is_ordered_and_listed(caller: Caller, environment: Environment) -> None:
    made = caller.post(PATH, {"name": "data", "size_gb": 20})
    assert made.status_code == 201, made.content
    assert json.loads(made.content) == {
        "name": "data", "id": None, "state": "requested", "size_gb": 20, "server": None,
    }  # fmt: skip
    listed = json.loads(caller.get(PATH).content)["results"]
    assert [each["name"] for each in listed] == ["data"]


def test_the_same_key_orders_once(caller: Caller, environment: Environment) -> None:
    answers = [caller.post(PATH, {"name": "data"}, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    assert Volume.objects.count() == 1


def test_a_second_volume_of_one_name_is_refused(caller: Caller, environment: Environment) -> None:
    caller.post(PATH, {"name": "data"})
    assert_problem(caller.post(PATH, {"name": "data"}), 409, "volume.exists")


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "data", "size_gb": 0}, {"name": "data", "more": 1}])
def test_a_body_that_is_none_is_refused_with_its_faults(
    caller: Caller, environment: Environment, body: dict[str, object]
) -> None:
    assert_problem(caller.post(PATH, body), 422, "submission.invalid")


def test_the_policy_bounds_what_is_ordered(caller: Caller, environment: Environment) -> None:
    assert_problem(caller.post(PATH, {"name": "data", "size_gb": 2000}), 422, "value.invalid")
    assert not Volume.objects.exists()


def test_a_closed_gate_orders_nothing(caller: Caller, environment: Environment) -> None:
    Environment.objects.filter(pk=environment.pk).update(gate_open=False)
    assert_problem(caller.post(PATH, {"name": "data"}), 403, "gate.closed")

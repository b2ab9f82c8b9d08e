from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime

import pytest

from registry.errors import QuotaExceeded, RegistryError
from registry.ports import Login, Secret
from registry.refusals import RefusalRate


def test_a_secret_is_shown_by_nothing_but_reveal() -> None:
    secret = Secret("hunter2")
    login = Login("push-1", secret, datetime.now(UTC))
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r:>20}", repr(login)):
        assert "hunter2" not in text
    assert secret.reveal() == "hunter2"


def test_a_secret_is_not_serialised() -> None:
    secret = Secret("hunter2")
    with pytest.raises(TypeError):
        json.dumps(secret)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)


def concrete(base: type[RegistryError]) -> list[type[RegistryError]]:
    return [leaf for child in base.__subclasses__() for leaf in [child, *concrete(child)]]


def test_every_error_has_a_code_of_its_own_and_a_cure() -> None:
    codes = [error.code for error in concrete(RegistryError)]
    assert len(codes) == len(set(codes)) >= 9
    assert all(error.cure.endswith(".") for error in concrete(RegistryError))


def test_an_error_says_what_and_what_next() -> None:
    refused = QuotaExceeded(limit=10, window_seconds=300, retry_after_seconds=42)
    assert "42 s" in refused.what
    assert str(refused) == f"{refused.what} {refused.cure}"


def test_a_flood_of_refusals_is_one_line_and_a_number() -> None:
    now = 100.0
    rate = RefusalRate(interval_seconds=10, clock=lambda: now)
    assert rate.count() == 1
    assert [rate.count() for _ in range(500)] == [None] * 500
    now = 110.0
    assert rate.count() == 501

"""Errors say what, which and what next, and never a secret."""

from __future__ import annotations

import inspect

import pytest

from providers import errors
from providers.errors import InvalidRequest, ProviderError, QuotaExceeded, RateLimited, Retry, redacted

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ProviderError) and kind is not ProviderError
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_public_code_a_cure_and_says_whether_time_helps(kind: type[ProviderError]) -> None:
    error = kind("it broke", provider_code="their_code", correlation_id="c-1")

    assert error.code.startswith("provider.")
    assert str(error).startswith("it broke (their_code). " + error.cure)
    assert "c-1" in str(error)
    assert error.retryable == (error.retry in (Retry.YES, Retry.LATER, Retry.RECONCILE))


def test_no_two_errors_share_a_code() -> None:
    codes = [kind.code for kind in set(CLASSES)]
    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "message",
    [
        "request failed: Authorization: Bearer s3cret-token-value",
        'body was {"root_password": "s3cret-token-value"}',
        "x-auth-token: s3cret-token-value, url http://a/?token=s3cret-token-value",
    ],
)
def test_what_looks_like_a_credential_is_redacted(message: str) -> None:
    assert "s3cret" not in QuotaExceeded(message).message


def test_known_secrets_are_redacted_wherever_they_stand_and_messages_have_a_bound() -> None:
    assert redacted("my s3cret\nhere", ("s3cret", "")) == "my [redacted] here"
    assert len(redacted("x" * 10_000)) == 500


def test_fields_and_times_are_kept() -> None:
    assert InvalidRequest("no", fields={"size": "token=abc too big"}).fields == {"size": "token=[redacted] too big"}
    assert RateLimited("slow", retry_after_seconds=3.5).retry_after_seconds == 3.5

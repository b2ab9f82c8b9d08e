"""Quota, mint, audit: in this order, on real PostgreSQL, and without the secret anywhere."""

from __future__ import annotations

import json
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.core import serializers
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import Settings
from structlog.testing import capture_logs

from registry import credentials, quotas
from registry.errors import (
    InvalidNamespace,
    InvalidRepository,
    MintFailed,
    QuotaExceeded,
    RegistryError,
    UnknownCredential,
)
from registry.models import Outcome, QuotaWindow, RegistryMint
from timeline.models import Event

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("registry_settings")]

BY = {"token": "0123abcd", "profile": "builder", "session": None}


def mint(project_id: UUID, namespace: str = "acme") -> credentials.PushCredentials:
    return credentials.mint_push(project_id=project_id, namespace=namespace, requested_by=BY)


def attempt(project_id: UUID) -> str:
    """One request on a connection of its own, as a web worker makes it; its outcome or its code."""
    try:
        mint(project_id)
    except RegistryError as fault:
        return fault.code
    finally:
        connection.close()
    return "minted"


def crowd(project_id: UUID, size: int) -> list[str]:
    start = threading.Barrier(size)

    def one(_: int) -> str:
        start.wait(timeout=30)
        return attempt(project_id)

    with ThreadPoolExecutor(size) as pool:
        return list(pool.map(one, range(size)))


def test_of_sixty_requests_at_once_exactly_ten_are_minted(project_id: UUID) -> None:
    outcomes = crowd(project_id, 60)
    assert outcomes.count("minted") == 10
    assert outcomes.count("quota.exceeded") == 50
    audited = RegistryMint.objects.filter(project_id=project_id)
    assert audited.filter(outcome=Outcome.MINTED).count() == 10
    assert audited.filter(outcome=Outcome.REFUSED, code="quota.exceeded").count() == 50


def test_a_mint_that_fails_counts(project_id: UUID, registry_settings: Settings, tmp_path: Path) -> None:
    usable = registry_settings.REGISTRY_TOKEN_KEY_FILE
    registry_settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "missing.key"
    for _ in range(10):
        with pytest.raises(MintFailed) as failure:
            mint(project_id)
        assert failure.value.retryable
    registry_settings.REGISTRY_TOKEN_KEY_FILE = usable
    with pytest.raises(QuotaExceeded):
        mint(project_id)
    assert RegistryMint.objects.filter(project_id=project_id, outcome=Outcome.FAILED).count() == 10
    assert not RegistryMint.objects.filter(project_id=project_id, outcome=Outcome.MINTED).exists()


def test_failures_at_once_count_as_well(project_id: UUID, registry_settings: Settings, tmp_path: Path) -> None:
    registry_settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "missing.key"
    outcomes = crowd(project_id, 20)
    assert outcomes.count("registry.mint_failed") == 10
    assert outcomes.count("quota.exceeded") == 10


def test_projects_do_not_share_a_quota(project_id: UUID) -> None:
    for _ in range(10):
        mint(project_id)
    mint(uuid4())


def test_retry_after_says_when_the_oldest_mint_leaves_the_window(project_id: UUID) -> None:
    now = timezone.now()
    ages = [270, 200, 100, 90, 80, 70, 60, 50, 40, 30]
    QuotaWindow.objects.create(project_id=project_id, taken_at=[now - timedelta(seconds=age) for age in ages])
    with pytest.raises(QuotaExceeded) as refused:
        mint(project_id)
    assert 29 <= refused.value.retry_after_seconds <= 30
    assert str(refused.value.retry_after_seconds) in str(refused.value)


def test_the_window_slides_and_waiting_as_long_as_said_is_enough(project_id: UUID) -> None:
    take = {"project_id": project_id, "limit": 2, "window_seconds": 2}
    quotas.take(**take)
    time.sleep(1)
    quotas.take(**take)
    with pytest.raises(QuotaExceeded) as refused:
        quotas.take(**take)
    time.sleep(refused.value.retry_after_seconds)
    quotas.take(**take)  # the first has left the window, the second has not
    with pytest.raises(QuotaExceeded):
        quotas.take(**take)


def test_the_window_keeps_no_more_than_it_needs(project_id: UUID) -> None:
    old = timezone.now() - timedelta(seconds=301)
    QuotaWindow.objects.create(project_id=project_id, taken_at=[old] * 10)
    mint(project_id)
    assert len(QuotaWindow.objects.get(project_id=project_id).taken_at) == 1


def test_a_mint_inside_a_transaction_is_a_bug_that_says_so(project_id: UUID) -> None:
    with transaction.atomic(), pytest.raises(RuntimeError):
        mint(project_id)


def test_who_is_refused_before_the_quota_consumes_nothing_and_is_audited(project_id: UUID) -> None:
    for _ in range(20):
        credentials.record_refusal(project_id=project_id, namespace="acme", requested_by=BY, code="gate.closed")
    assert not QuotaWindow.objects.filter(project_id=project_id).exists()
    assert RegistryMint.objects.filter(project_id=project_id, outcome=Outcome.REFUSED, code="gate.closed").count() == 20
    mint(project_id)


def test_a_namespace_that_no_registry_would_take_is_refused_before_anything_counts(project_id: UUID) -> None:
    for namespace in ["", "Acme", "acme/", "../acme", "acme web", "a" * 129]:
        with pytest.raises(InvalidNamespace):
            mint(project_id, namespace)
    assert not QuotaWindow.objects.filter(project_id=project_id).exists()


def test_the_answer_says_where_what_and_how_long(project_id: UUID, registry_port: int) -> None:
    made = mint(project_id)
    assert made.registry == f"127.0.0.1:{registry_port}"
    assert (made.namespace, made.path_scoped) == ("acme", True)
    assert timedelta(minutes=14) < made.expires_at - datetime.now(UTC) <= timedelta(minutes=15)
    assert f"docker login {made.registry} --username {made.username} --password-stdin" in made.instructions
    assert made.password.reveal() not in made.instructions + repr(made)


def test_the_audit_says_who_asked_for_what_and_the_timeline_tells_it(project_id: UUID) -> None:
    environment_id = uuid4()
    made = credentials.mint_push(
        project_id=project_id, environment_id=environment_id, namespace="acme", requested_by=BY
    )
    row = RegistryMint.objects.get(jti=made.jti)
    assert (row.project_id, row.environment_id, row.namespace) == (project_id, environment_id, "acme")
    assert (row.kind, row.outcome, row.code, row.requested_by) == ("push", "minted", "", BY)
    assert row.expires_at == made.expires_at
    event = Event.objects.get(subject_kind="registry_mint", subject_id=str(row.pk))
    assert (event.kind, event.environment_id, event.by) == ("registry:credential:minted", environment_id, BY)


def test_no_secret_is_in_the_database_the_events_or_the_logs(
    project_id: UUID, caplog: pytest.LogCaptureFixture, registry_settings: Settings, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG)
    with capture_logs() as structured:
        made = mint(project_id)
        credentials.revoke(made.jti, by={"operator": "ada"})
        registry_settings.REGISTRY_TOKEN_KEY_FILE = tmp_path / "missing.key"
        with pytest.raises(MintFailed) as failure:
            mint(project_id)
    password = made.password.reveal()
    rows = serializers.serialize(
        "json", [*RegistryMint.objects.all(), *Event.objects.all(), *QuotaWindow.objects.all()]
    )
    told = [rows, caplog.text, json.dumps(structured, default=str), str(failure.value), repr(made), f"{made.password}"]
    for part in (password, *password.split(".")[1:]):  # the header is the same for all, and public
        assert not any(part in text for text in told)


def test_a_pull_credential_is_audited_with_its_repositories_and_has_no_quota(project_id: UUID) -> None:
    for _ in range(12):
        made = credentials.mint_pull(
            project_id=project_id, repositories=["acme/web", "acme/db"], requested_by={"node": "n1"}, ttl_seconds=1800
        )
    row = RegistryMint.objects.get(jti=made.jti)
    assert (row.kind, row.repositories, row.requested_by) == ("pull", ["acme/db", "acme/web"], {"node": "n1"})
    assert not QuotaWindow.objects.filter(project_id=project_id).exists()


def test_a_pull_credential_is_for_named_repositories_and_a_bounded_time(project_id: UUID) -> None:
    with pytest.raises(InvalidRepository):
        credentials.mint_pull(project_id=project_id, repositories=["acme/*"], requested_by={}, ttl_seconds=60)
    for ttl_seconds in (0, -1, 86_401):
        with pytest.raises(ValueError, match="ttl_seconds"):
            credentials.mint_pull(project_id=project_id, repositories=[], requested_by={}, ttl_seconds=ttl_seconds)


def test_revoking_twice_changes_nothing_and_an_unknown_jti_is_named(project_id: UUID) -> None:
    made = mint(project_id)
    assert credentials.revoke(made.jti, by={"operator": "ada"})
    first = RegistryMint.objects.get(jti=made.jti).revoked_at
    assert not credentials.revoke(made.jti, by={"operator": "bob"})
    assert RegistryMint.objects.get(jti=made.jti).revoked_at == first
    assert Event.objects.filter(kind="registry:credential:revoked").count() == 1
    with pytest.raises(UnknownCredential, match="never-minted"):
        credentials.revoke("never-minted", by={})


def test_the_database_refuses_an_audit_row_that_contradicts_itself(project_id: UUID) -> None:
    complete = {"project_id": project_id, "kind": "push", "created_at": timezone.now()}
    for broken in (
        {"outcome": "minted"},
        {"outcome": "failed"},
        {"outcome": "refused", "code": "gate.closed", "jti": "0" * 32},
        {"outcome": "lost", "code": "x"},
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            RegistryMint.objects.create(**complete, **broken)

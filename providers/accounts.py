"""Accounts at providers: making, checking, pausing and lifting the pause. The only writer of ProviderAccount."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.utils import timezone

from providers import registry
from providers.errors import AccountExists, AccountPaused, AuthFailed, InvalidRequest, ProviderError, UnknownAccount
from providers.models import ProviderAccount
from providers.ports import ComputeProvider, Finding, Verdict

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


class Sealer(Protocol):
    """Authenticated encryption with a key that only the caller has. What is sealed for one row opens for no other."""

    def seal(self, plaintext: bytes, *, bound_to: bytes) -> bytes: ...

    def open(self, sealed: bytes, *, bound_to: bytes) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Report:
    """What a check found. It passes when nothing failed; what the provider's API does not tell stays unknown."""

    account: str
    findings: tuple[Finding, ...]

    @property
    def passes(self) -> bool:
        return all(finding.verdict is not Verdict.FAILED for finding in self.findings)


def create(
    *, name: str, slug: str, options: Mapping[str, Any], credentials: Mapping[str, str], sealer: Sealer
) -> ProviderAccount:
    """Store an account whose options and credentials have the right form; whether they are good, `check` says.

    Raises InvalidRequest with every fault, AccountExists.
    """
    if not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} cannot name an account", fields={"name": "1 to 64 of a-z, 0-9 and -, no - at the ends"}
        )
    registry.configured(slug, options=options, credentials=credentials)
    account_id = uuid4()
    sealed = sealer.seal(json.dumps(dict(credentials)).encode(), bound_to=_bound_to(account_id))
    try:
        with transaction.atomic():
            return ProviderAccount.objects.create(
                id=account_id, name=name, slug=slug, options=dict(options), credentials=sealed
            )
    except IntegrityError as error:
        raise AccountExists(f"There is an account {name!r} already") from error


def listed() -> QuerySet[ProviderAccount]:
    return ProviderAccount.objects.order_by("name")


def named(name: str) -> ProviderAccount:
    """Raises UnknownAccount."""
    try:
        return ProviderAccount.objects.get(name=name)
    except ProviderAccount.DoesNotExist as error:
        raise UnknownAccount(f"There is no account {name!r}") from error


def provider(account: ProviderAccount, *, sealer: Sealer) -> ComputeProvider:
    """The provider to call with this account. Raises AccountPaused."""
    if account.is_paused:
        raise AccountPaused(f"Account {account.name!r} is paused: {account.paused_message}")
    return _provider(account, sealer)


def check(account: ProviderAccount, *, sealer: Sealer) -> Report:
    """Ask the provider about the account: lifts a pause if nothing failed, pauses if the credential is refused."""
    report = Report(account.name, _provider(account, sealer).check())
    refused = [f for f in report.findings if f.subject == "credentials" and f.verdict is Verdict.FAILED]
    if refused:
        pause(account_id=account.pk, because=AuthFailed(refused[0].detail))
    elif report.passes:
        resume(account_id=account.pk)
    return report


def pause(*, account_id: UUID, because: ProviderError) -> bool:
    """Stop calling with the account. False if it was paused already: the first reason stays."""
    return bool(
        ProviderAccount.objects.filter(pk=account_id, paused_at__isnull=True).update(
            paused_at=timezone.now(), paused_code=because.code, paused_message=because.message
        )
    )


def resume(*, account_id: UUID) -> bool:
    """Lift the pause. False if there was none."""
    return bool(
        ProviderAccount.objects.filter(pk=account_id, paused_at__isnull=False).update(
            paused_at=None, paused_code="", paused_message=""
        )
    )


def _provider(account: ProviderAccount, sealer: Sealer) -> ComputeProvider:
    opened = sealer.open(bytes(account.credentials), bound_to=_bound_to(account.pk))
    return registry.configured(account.slug, options=account.options, credentials=json.loads(opened))


def _bound_to(account_id: UUID) -> bytes:
    return b"provider-account:" + account_id.bytes

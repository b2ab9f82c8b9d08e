"""The providers that environments are placed with: an account's name in, a provider out; and their operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.db import transaction

from providers import accounts, registry
from providers.accounts import Report
from providers.errors import AccountPaused, AuthFailed, ProviderError, UnknownAccount
from providers.models import ProviderAccount
from providers.ports import Capabilities, Catalogue, ComputeProvider

from .. import nudges
from ..models import Environment, Installation, Node, Survey, Volume
from . import vault

_KEK_ID_LENGTH = 16
# The account that a new environment has unless another is said.
_LOCAL = "local"
_OF_A_PAUSE = (AuthFailed.code, AccountPaused.code)


class VaultSealer:
    """The vault as the providers room wants it: the key's id travels in front of the ciphertext."""

    def seal(self, plaintext: bytes, *, bound_to: bytes) -> bytes:
        ciphertext, kek_id = vault.seal(plaintext, context=bound_to.hex())
        return kek_id.encode() + ciphertext

    def open(self, sealed: bytes, *, bound_to: bytes) -> bytes:
        kek_id, ciphertext = sealed[:_KEK_ID_LENGTH].decode(), sealed[_KEK_ID_LENGTH:]
        return vault.open_sealed(ciphertext, context=bound_to.hex(), kek_id=kek_id)


@dataclass(frozen=True, slots=True)
class Checked:
    """What checking an account found. `catalogue` is None where the provider did not tell it, `name` the account's."""

    name: str
    provider: str
    report: Report
    catalogue: Catalogue | None
    is_paused: bool


def provider_of(account: str) -> ComputeProvider:
    """The provider behind an account's name; one that needs no credentials is its own account.

    Raises ProviderError (UnknownAccount, AccountPaused).
    """
    row = _row(account)
    if row is None and account in registry.slugs():
        return registry.configured(account)
    return accounts.provider(row or accounts.named(account), sealer=VaultSealer())


def capabilities_of(account: str) -> Capabilities:
    """What the account's provider can do. Nothing is asked of it, so a paused account answers as well.

    Raises UnknownAccount.
    """
    row = _row(account)
    if row is not None:
        # In memory only: the pause is for calls, and there is none here.
        row.paused_at = None
        return accounts.provider(row, sealer=VaultSealer()).capabilities
    return provider_of(account).capabilities


def slug_of(account: str) -> str:
    """Which provider the account is at."""
    row = _row(account)
    return row.slug if row else account


def options_of(account: str) -> Mapping[str, Any]:
    """The account's options over those of its provider's settings."""
    row = _row(account)
    entry: Any = settings.PROVIDERS.get(row.slug if row else account, {})
    return {**entry.get("options", {}), **(row.options if row else {})}


def seconds_of(account: str, option: str, default: float) -> float:
    """An option of the account that is a number of seconds; its form was checked when the account was made."""
    return float(options_of(account).get(option, default))


def note_refusal(account: str, fault: Exception) -> None:
    """Pause the account whose credential was refused: no retry storm, until an operator's check passes."""
    row = _row(account)
    if row is not None and isinstance(fault, AuthFailed):
        accounts.pause(account_id=row.pk, because=fault)


def installation() -> str:
    """This installation's name, made at first use."""
    return Installation.objects.get_or_create(pk=1)[0].name


# What operators do


def create(*, name: str, slug: str, options: Mapping[str, Any], credentials: Mapping[str, str]) -> ProviderAccount:
    """Store an account; its credentials are sealed. Raises InvalidRequest, AccountExists."""
    return accounts.create(name=name, slug=slug, options=options, credentials=credentials, sealer=VaultSealer())


def names() -> list[str]:
    """The stored accounts, and the providers without credentials that environments are placed with or that is local."""
    stored = set(accounts.listed().values_list("name", flat=True))
    used = set(Environment.objects.values_list("account", flat=True).distinct()) | {_LOCAL}
    return sorted(stored | {slug for slug in registry.slugs() if slug in used and _is_its_own(slug)})


def check(name: str) -> Checked:
    """Ask the provider about the account. Passes: a pause is lifted, and what waited for it goes on at once.

    Raises UnknownAccount; what the provider says is in the report.
    """
    row = _row(name)
    if row is None:
        if name not in registry.slugs() or not _is_its_own(name):
            raise UnknownAccount(f"There is no account {name!r}")
        provider = registry.configured(name)
        return Checked(name, name, Report(name, provider.check()), _catalogue(provider), is_paused=False)
    report = accounts.check(row, sealer=VaultSealer())
    row.refresh_from_db()
    if not row.is_paused:
        _go_on(name)
    catalogue = _catalogue(accounts.provider(row, sealer=VaultSealer())) if not row.is_paused else None
    return Checked(name, row.slug, report, catalogue, row.is_paused)


def catalogue_of(account: str) -> Catalogue | None:
    """What can be ordered with the account, as its provider says now; None where it cannot be asked."""
    try:
        return _catalogue(provider_of(account))
    except AccountPaused:
        return None


def _go_on(account: str) -> None:
    """Rows that were held up by the pause are due now."""
    held = {"account": account, "fault__code__in": _OF_A_PAUSE}
    with transaction.atomic():
        for rows in (Node.objects.filter(**held), Volume.objects.filter(**held)):
            rows.update(retry_at=None, failures=0)
        Survey.objects.filter(account=account).update(retry_at=None)
        waiting = Environment.objects.filter(account=account)
        waiting.update(retry_at=None)
        for environment_id in waiting.filter(releases__waiting__code__in=_OF_A_PAUSE).values_list("pk", flat=True):
            nudges.advance(environment_id)


def _catalogue(provider: ComputeProvider) -> Catalogue | None:
    try:
        return provider.catalogue()
    except ProviderError:
        return None


def _is_its_own(slug: str) -> bool:
    """Whether the provider can be used without credentials."""
    try:
        registry.configured(slug)
    except ProviderError:
        return False
    return True


def _row(account: str) -> ProviderAccount | None:
    return ProviderAccount.objects.filter(name=account).first()

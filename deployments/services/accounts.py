"""The providers that environments are placed with: an account's name in, a provider to call out."""

from __future__ import annotations

from providers import accounts, registry
from providers.errors import AuthFailed, ProviderError
from providers.models import ProviderAccount
from providers.ports import ComputeProvider

from ..models import Installation
from . import vault

_KEK_ID_LENGTH = 16


class VaultSealer:
    """The vault as the providers room wants it: the key's id travels in front of the ciphertext."""

    def seal(self, plaintext: bytes, *, bound_to: bytes) -> bytes:
        ciphertext, kek_id = vault.seal(plaintext, context=bound_to.hex())
        return kek_id.encode() + ciphertext

    def open(self, sealed: bytes, *, bound_to: bytes) -> bytes:
        kek_id, ciphertext = sealed[:_KEK_ID_LENGTH].decode(), sealed[_KEK_ID_LENGTH:]
        return vault.open_sealed(ciphertext, context=bound_to.hex(), kek_id=kek_id)


def provider_of(account: str) -> ComputeProvider:
    """The provider behind an account's name; one that needs no credentials is its own account.

    Raises ProviderError (UnknownAccount, AccountPaused).
    """
    row = ProviderAccount.objects.filter(name=account).first()
    if row is None and account in registry.slugs():
        return registry.configured(account)
    return accounts.provider(row or accounts.named(account), sealer=VaultSealer())


def note_refusal(account: str, fault: ProviderError) -> None:
    """Pause the account whose credential was refused: no retry storm, until an operator's check passes."""
    row = ProviderAccount.objects.filter(name=account).first()
    if row is not None and isinstance(fault, AuthFailed):
        accounts.pause(account_id=row.pk, because=fault)


def installation() -> str:
    """This installation's name, made at first use."""
    return Installation.objects.get_or_create(pk=1)[0].name

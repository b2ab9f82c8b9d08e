"""Accounts: sealed, checked, paused when refused, and lifted by a check that passes; and a provider from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import nacl.secret
import nacl.utils
import pytest
from django.db import IntegrityError, connection, transaction

from providers import accounts, registry
from providers.errors import AccountExists, AccountPaused, AuthFailed, InvalidRequest, UnknownAccount
from providers.local import LocalProvider
from providers.models import ProviderAccount
from providers.ports import ComputeProvider
from providers.testing import fake_hetzner
from providers.testing.fake_hetzner import FakeHetzner

pytestmark = pytest.mark.django_db

CLOUDS = {
    "hetzner": {"class": "providers.hetzner.HetznerProvider", "options": {"request_timeout_seconds": "2"}},
    "scaleway": {"class": "providers.scaleway.ScalewayProvider"},
}


class Sealer:
    """Real authenticated encryption with a key of this test."""

    def __init__(self) -> None:
        self._box = nacl.secret.Aead(nacl.utils.random(nacl.secret.Aead.KEY_SIZE))

    def seal(self, plaintext: bytes, *, bound_to: bytes) -> bytes:
        return bytes(self._box.encrypt(plaintext, bound_to))

    def open(self, sealed: bytes, *, bound_to: bytes) -> bytes:
        return self._box.decrypt(sealed, bound_to)


class Elsewhere(LocalProvider):
    """A provider that this tree does not know: a class, and a line of settings."""

    def __init__(self, options: Mapping[str, Any], credentials: Mapping[str, str]) -> None:
        super().__init__({name: value for name, value in options.items() if name != "colour"})
        self.colour = options["colour"]


@pytest.fixture(autouse=True)
def clouds(settings: Any) -> None:
    settings.PROVIDERS = CLOUDS


@pytest.fixture
def sealer() -> Sealer:
    return Sealer()


@pytest.fixture
def cloud() -> Iterator[FakeHetzner]:
    fake = FakeHetzner()
    yield fake
    fake.close()


def made(sealer: Sealer, cloud: FakeHetzner, *, name: str = "main", token: str = fake_hetzner.TOKEN) -> ProviderAccount:
    return accounts.create(
        name=name, slug="hetzner", options={"api_url": cloud.api_url}, credentials={"token": token}, sealer=sealer
    )


def test_credentials_are_sealed_in_the_row_and_opened_for_a_provider(sealer: Sealer, cloud: FakeHetzner) -> None:
    account = made(sealer, cloud)

    with connection.cursor() as cursor:
        cursor.execute("SELECT row_to_json(a)::text, encode(credentials, 'escape') FROM providers_provideraccount a")
        assert all(fake_hetzner.TOKEN not in column for column in cursor.fetchone())
    provider = accounts.provider(account, sealer=sealer)
    assert provider.list_servers(installation="i") == []


def test_credentials_moved_to_another_row_do_not_open(sealer: Sealer, cloud: FakeHetzner) -> None:
    one, other = made(sealer, cloud, name="one"), made(sealer, cloud, name="other", token="u" * 64)
    ProviderAccount.objects.filter(pk=other.pk).update(credentials=bytes(one.credentials))

    with pytest.raises(nacl.exceptions.CryptoError):
        accounts.provider(accounts.named("other"), sealer=sealer)


def test_a_name_is_taken_once_and_has_a_form(sealer: Sealer, cloud: FakeHetzner) -> None:
    made(sealer, cloud)

    with pytest.raises(AccountExists):
        made(sealer, cloud)
    for name in ("", "Main", "-main", "m" * 65, "a b"):
        with pytest.raises(InvalidRequest):
            made(sealer, cloud, name=name)
    with pytest.raises(UnknownAccount):
        accounts.named("other")
    assert [account.name for account in accounts.listed()] == ["main"]


def test_an_account_of_an_unknown_provider_or_with_wrong_options_is_not_stored(sealer: Sealer) -> None:
    for slug, options, credentials in (
        ("nowhere", {}, {}),
        ("hetzner", {"colour": "blue"}, {"token": "t" * 64}),
        ("scaleway", {}, {"token": "t" * 64}),
    ):
        with pytest.raises(InvalidRequest):
            accounts.create(name="a", slug=slug, options=options, credentials=credentials, sealer=sealer)

    assert not accounts.listed().exists()


def test_a_check_that_is_refused_pauses_and_one_that_passes_lifts_the_pause(sealer: Sealer, cloud: FakeHetzner) -> None:
    """F20."""
    account = made(sealer, cloud)
    cloud.faults.inject("refuse", on="list_locations", status=401, code="unauthorized")

    refused = accounts.check(account, sealer=sealer)

    paused = accounts.named("main")
    assert (refused.passes, paused.paused_code) == (False, "provider.auth")
    asked = len(cloud.calls)
    with pytest.raises(AccountPaused):
        accounts.provider(paused, sealer=sealer)
    assert len(cloud.calls) == asked

    assert accounts.check(paused, sealer=sealer).passes
    assert not accounts.named("main").is_paused


def test_a_check_that_the_provider_did_not_answer_leaves_the_pause_as_it_is(sealer: Sealer, cloud: FakeHetzner) -> None:
    account = made(sealer, cloud)
    accounts.pause(account_id=account.pk, because=AuthFailed("refused"))
    cloud.faults.inject("reset", on="list_locations")

    assert not accounts.check(accounts.named("main"), sealer=sealer).passes
    assert accounts.named("main").is_paused


def test_the_first_reason_for_a_pause_stays(sealer: Sealer, cloud: FakeHetzner) -> None:
    account = made(sealer, cloud)

    assert accounts.pause(account_id=account.pk, because=AuthFailed("first"))
    assert not accounts.pause(account_id=account.pk, because=AuthFailed("second"))
    assert accounts.named("main").paused_message == "first"
    assert accounts.resume(account_id=account.pk)
    assert not accounts.resume(account_id=account.pk)


def test_the_database_takes_no_pause_without_a_reason(sealer: Sealer, cloud: FakeHetzner) -> None:
    account = made(sealer, cloud)

    with pytest.raises(IntegrityError), transaction.atomic():
        ProviderAccount.objects.filter(pk=account.pk).update(paused_code="provider.auth")


def test_a_provider_from_outside_the_tree_is_a_class_and_a_line_of_settings(settings: Any, tmp_path: Any) -> None:
    directories = {"node_dir": str(tmp_path / "n"), "volumes_dir": str(tmp_path / "v")}
    settings.PROVIDERS = {"elsewhere": {"class": f"{__name__}.Elsewhere", "options": {"colour": "red", **directories}}}

    provider: ComputeProvider = registry.configured("elsewhere", options={"colour": "blue"})

    assert registry.slugs() == ["elsewhere"]
    assert getattr(provider, "colour", None) == "blue"
    assert provider.list_servers(installation="i") == []


def test_options_are_kept_as_they_were_given_and_hold_no_credential(sealer: Sealer, cloud: FakeHetzner) -> None:
    account = made(sealer, cloud)

    assert json.loads(json.dumps(account.options)) == {"api_url": cloud.api_url}
    assert fake_hetzner.TOKEN not in repr(account.__dict__)

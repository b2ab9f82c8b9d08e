"""The audit in the admin: to read and to revoke, never to change."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.messages.storage.fallback import FallbackStorage
from django.test import RequestFactory

from registry.admin import RegistryMintAdmin
from registry.models import RegistryMint
from registry.ports import PushCredentials
from timeline.models import Event

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def page() -> RegistryMintAdmin:
    return RegistryMintAdmin(RegistryMint, admin.site)


@pytest.fixture
def operator(rf: RequestFactory) -> RequestFactory:
    request = rf.post("/admin/")
    request.user = get_user_model().objects.create_superuser("ada", password="not-used-here")
    request.session = {}
    request._messages = FallbackStorage(request)
    return request


def test_not_even_a_superuser_adds_changes_or_deletes_an_audit_row(page: RegistryMintAdmin, operator: object) -> None:
    assert not page.has_add_permission(operator)
    assert not page.has_change_permission(operator)
    assert not page.has_delete_permission(operator)
    assert "revoke" in page.get_actions(operator)
    assert "delete_selected" not in page.get_actions(operator)


def test_revoking_in_the_admin_is_the_services_revocation(
    page: RegistryMintAdmin, operator: object, push_credentials: PushCredentials
) -> None:
    page.revoke(operator, RegistryMint.objects.all())
    row = RegistryMint.objects.get(jti=push_credentials.jti)
    assert row.revoked_at is not None
    assert Event.objects.get(kind="registry:credential:revoked").by == {"operator": "ada"}


def test_no_column_of_the_audit_could_show_a_password(
    page: RegistryMintAdmin, push_credentials: PushCredentials
) -> None:
    row = RegistryMint.objects.values().get(jti=push_credentials.jti)
    assert push_credentials.password.reveal() not in str(row)
    assert set(page.list_display) <= set(row)

"""The audit of registry credentials, to read; revoking is an action that calls the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from . import credentials
from .models import RegistryMint

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[RegistryMint]
else:  # generic for the type checker alone
    ModelAdmin = admin.ModelAdmin


@admin.register(RegistryMint)
class RegistryMintAdmin(ModelAdmin):
    list_display = ("created_at", "kind", "outcome", "code", "namespace", "jti", "expires_at", "revoked_at")
    list_filter = ("kind", "outcome", "code")
    search_fields = ("=project_id", "=environment_id", "=jti", "namespace")
    date_hierarchy = "created_at"
    show_full_result_count = False
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: RegistryMint | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: RegistryMint | None = None) -> bool:
        return False

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("registry.change_registrymint")

    @admin.action(description="Revoke the selected credentials", permissions=["revoke"])
    def revoke(self, request: HttpRequest, chosen: QuerySet[RegistryMint]) -> None:
        by = {"operator": request.user.get_username()}
        jtis = chosen.filter(jti__isnull=False).values_list("jti", flat=True)
        revoked = sum(credentials.revoke(str(jti), by=by) for jti in jtis)
        self.message_user(
            request, f"{revoked} revoked; what had ended or was never minted is as it was.", messages.SUCCESS
        )

"""The release log and the deploy keys, to be read."""

from __future__ import annotations

import json

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from registry.models import QuotaWindow
from timeline.records import RecordAdmin

from ..models import KeysetVersion, LogEntry, SigningKey


@admin.register(LogEntry)
class LogEntryAdmin(RecordAdmin):
    list_display = ("project", "position", "at", "entry_hash")
    list_display_links = ("position",)
    list_select_related = ("project",)
    list_filter = ("project",)
    search_fields = ("entry_hash", "project__slug")
    fields = ("project", "position", "at", "previous_hash", "entry_hash", "content")
    ordering = ("-id",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        return super().get_queryset(request).defer("body")

    @admin.display(description="content")
    def content(self, row: LogEntry) -> str:
        return json.dumps(json.loads(bytes(row.body)), indent=1, ensure_ascii=False)


@admin.register(SigningKey)
class SigningKeyAdmin(RecordAdmin):
    """Public halves. The sealed private half is never loaded here."""

    list_display = ("keyid", "role", "active", "revoked_at", "created_at")
    search_fields = ("keyid",)
    fields = ("keyid", "role", "public_hex", "active", "kek_id", "revoked_at", "created_at")
    ordering = ("-created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[SigningKey]:
        return super().get_queryset(request).defer("sealed_private")

    @admin.display(description="public key")
    def public_hex(self, row: SigningKey) -> str:
        return bytes(row.public).hex()


@admin.register(KeysetVersion)
class KeysetVersionAdmin(RecordAdmin):
    list_display = ("version", "created_at")
    fields = ("version", "envelope_text", "created_at")
    ordering = ("-version",)

    @admin.display(description="envelope")
    def envelope_text(self, row: KeysetVersion) -> str:
        return bytes(row.envelope).decode()


@admin.register(QuotaWindow)
class QuotaWindowAdmin(RecordAdmin):
    """When each project's last push credentials were asked for."""

    list_display = ("project_id", "taken")
    fields = ("project_id", "taken_at")
    ordering = ("project_id",)

    @admin.display(description="credentials in the window")
    def taken(self, row: QuotaWindow) -> int:
        return len(row.taken_at)

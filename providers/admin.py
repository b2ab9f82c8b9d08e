"""Provider accounts, to be read. Their credentials are ciphertext and not shown."""

from __future__ import annotations

from django.contrib import admin

from timeline.records import Question, RecordAdmin, everything

from .models import ProviderAccount


class WhatIsPaused(Question):
    title = "what is paused"
    parameter_name = "paused"
    answers = {
        "all": ("All", everything),
        "paused": ("Paused", lambda rows: rows.filter(paused_at__isnull=False)),
    }


@admin.register(ProviderAccount)
class ProviderAccountAdmin(RecordAdmin):
    list_display = ("name", "slug", "paused_at", "paused_code")
    list_filter = (WhatIsPaused, "slug")
    search_fields = ("name", "slug")
    fields = ("id", "name", "slug", "options", "paused_at", "paused_code", "paused_message", "created_at")

"""Sessions, messages and events, to be read."""

from __future__ import annotations

from django.contrib import admin

from .models import Event, Message, Session, Severity
from .records import Question, RecordAdmin, everything


class WhatWentWrong(Question):
    title = "what went wrong"
    parameter_name = "wrong"
    answers = {
        "wrong": ("Warnings and worse", lambda rows: rows.exclude(severity=Severity.INFO)),
        "alarms": ("Alarms", lambda rows: rows.filter(severity=Severity.ALARM)),
        "all": ("All", everything),
    }


@admin.register(Event)
class EventAdmin(RecordAdmin):
    list_display = ("kind", "severity", "at", "subject_kind", "subject_id", "by")
    list_filter = (WhatWentWrong, "subject_kind")
    search_fields = ("kind", "subject_id")
    fields = (
        "kind",
        "severity",
        "at",
        "subject_kind",
        "subject_id",
        "project_id",
        "environment_id",
        "session_id",
        "by",
        "data",
    )
    ordering = ("-id",)


class WhoIsAtWork(Question):
    title = "who is at work"
    parameter_name = "running"
    answers = {
        "running": ("Running", lambda rows: rows.filter(ended_at__isnull=True)),
        "ended": ("Ended", lambda rows: rows.filter(ended_at__isnull=False)),
        "all": ("All", everything),
    }


@admin.register(Session)
class SessionAdmin(RecordAdmin):
    list_display = ("title", "client_id", "profile", "started_at", "ended_at")
    list_filter = (WhoIsAtWork,)
    search_fields = ("title", "client_id")
    fields = ("id", "title", "client_id", "profile", "project_id", "started_at", "ended_at")
    ordering = ("-started_at",)


@admin.register(Message)
class MessageAdmin(RecordAdmin):
    list_display = ("session", "role", "at", "text")
    list_filter = ("role",)
    list_select_related = ("session",)
    search_fields = ("text",)
    fields = ("session", "role", "at", "client_id", "text")
    ordering = ("-id",)

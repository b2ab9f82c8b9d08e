"""Nodes and volumes: which are late or broken."""

from __future__ import annotations

from datetime import timedelta

from django.contrib import admin
from django.db.models import Q
from django.utils import timezone

from timeline.records import Question, RecordAdmin, everything

from ..domain.states import NodeState, VolumeState
from ..models import Installation, LogQuery, Node, NodeNonce, Orphan, Survey, Volume

_LATE = timedelta(minutes=2)


class WhichAreLate(Question):
    title = "which are late"
    parameter_name = "late"
    answers = {
        "late": (
            "Late, failed or quarantined",
            lambda rows: rows.exclude(state=NodeState.DELETED).filter(
                Q(last_seen_at__lt=timezone.now() - _LATE)
                | Q(state__in=[NodeState.UNREACHABLE, NodeState.FAILED, NodeState.LOST])
                | Q(quarantined_at__isnull=False)
            ),
        ),
        "here": ("Not deleted", lambda rows: rows.exclude(state=NodeState.DELETED)),
        "all": ("All", everything),
    }


@admin.register(Node)
class NodeAdmin(RecordAdmin):
    list_display = ("id", "account", "state", "role", "owner", "agent_version", "last_seen_at", "quarantined_at")
    list_select_related = ("owner__project",)
    list_filter = (WhichAreLate, "state", "account")
    search_fields = ("id", "server_id", "account", "owner__slug")
    fields = (
        "id",
        "account",
        "server_id",
        "role",
        "state",
        "owner",
        "shared",
        "generation",
        "agent_version",
        "keyset_version",
        "boot_id",
        "counter",
        "disk",
        "last_seen_at",
        "quarantined_at",
        "operation",
        "poll_after",
        "fault",
        "failures",
        "retry_at",
        "claimed_until",
        "servers_asked",
        "owned_volume_ids",
        "boot_deadline_at",
        "active_at",
        "enrolment_expires_at",
        "created_at",
    )
    ordering = ("-created_at",)


class WhatIsBroken(Question):
    title = "what is broken"
    parameter_name = "broken"
    answers = {
        "here": ("Not deleted", lambda rows: rows.exclude(state=VolumeState.DELETED)),
        "broken": (
            "Failed, lost or with a fault",
            lambda rows: rows.filter(Q(state__in=[VolumeState.FAILED, VolumeState.LOST]) | Q(fault__isnull=False)),
        ),
        "all": ("All", everything),
    }


@admin.register(Volume)
class VolumeAdmin(RecordAdmin):
    list_display = ("environment", "name", "state", "size_gb", "server_id", "account")
    list_display_links = ("name",)
    list_select_related = ("environment__project",)
    list_filter = (WhatIsBroken, "state", "account")
    search_fields = ("name", "volume_id", "environment__slug", "environment__project__slug")
    fields = (
        "environment",
        "name",
        "state",
        "size_gb",
        "wanted_gb",
        "account",
        "location",
        "volume_id",
        "server_id",
        "device_path",
        "device_serial",
        "ever_formatted",
        "operation",
        "poll_after",
        "fault",
        "failures",
        "retry_at",
        "claimed_until",
        "created_at",
    )


@admin.register(Survey)
class SurveyAdmin(RecordAdmin):
    """When each account was looked through last."""

    list_display = ("account", "surveyed_at", "failures", "retry_at")
    search_fields = ("account",)
    fields = ("account", "surveyed_at", "poll_after", "fault", "failures", "retry_at", "claimed_until")
    ordering = ("account",)


@admin.register(Orphan)
class OrphanAdmin(RecordAdmin):
    """What is at a provider under our labels, and paid for, while no row points to it."""

    list_display = ("resource_id", "kind", "account", "environment_id", "first_seen_at", "gone_at")
    list_filter = ("kind", "account")
    search_fields = ("resource_id", "account", "environment_id")
    fields = ("account", "kind", "resource_id", "environment_id", "resource", "first_seen_at", "gone_at")
    ordering = ("-first_seen_at",)


@admin.register(LogQuery)
class LogQueryAdmin(RecordAdmin):
    """Questions for logs that are still open. Lines are not shown here: they belong to whoever asked."""

    list_display = ("environment", "service", "node", "asked_at")
    list_select_related = ("environment__project", "node")
    search_fields = ("environment__slug", "service")
    fields = ("environment", "node", "service", "since", "limit", "asked_at")
    ordering = ("-asked_at",)


@admin.register(NodeNonce)
class NodeNonceAdmin(RecordAdmin):
    list_display = ("node", "nonce", "at")
    list_select_related = ("node",)
    search_fields = ("nonce",)
    fields = ("node", "nonce", "at")
    ordering = ("-at",)


@admin.register(Installation)
class InstallationAdmin(RecordAdmin):
    list_display = ("name",)
    fields = ("name",)
    ordering = ("id",)

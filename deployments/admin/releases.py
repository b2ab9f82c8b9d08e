"""Releases and orders: what is under way, what failed, and undoing it."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html

from agents.principals import Principal
from timeline.records import Question, RecordAdmin, everything

from ..domain.states import RELEASE_PENDING, OrderStatus, ReleaseStatus
from ..models import IdempotentCall, Order, Payload, Receipt, Release
from ..services import releases
from . import actions


class WhatIsUnderWay(Question):
    title = "what is under way"
    parameter_name = "under_way"
    answers = {
        "open": (
            "Under way, failed or unknown",
            lambda rows: rows.filter(status__in=[*RELEASE_PENDING, ReleaseStatus.FAILED, ReleaseStatus.UNKNOWN]),
        ),
        "live": ("Live", lambda rows: rows.filter(status=ReleaseStatus.LIVE)),
        "all": ("All", everything),
    }


@admin.register(Release)
class ReleaseAdmin(RecordAdmin):
    list_display = ("environment", "sequence", "status", "by", "created_at", "settled_at", "summary")
    list_display_links = ("sequence",)
    list_select_related = ("environment__project",)
    list_filter = (WhatIsUnderWay, "status")
    search_fields = ("environment__slug", "environment__project__slug", "manifest_digest")
    ordering = ("-created_at",)
    fields = (
        "story",
        "environment",
        "sequence",
        "status",
        "manifest_digest",
        "manifest_text",
        "submitted_by",
        "rollback_of",
        "plan",
        "waiting",
        "evidence",
        "routes",
        "timings_ms",
        "changed_in",
        "reference_versions",
        "serving_after",
        "created_at",
        "offered_at",
        "progressed_at",
        "cancel_requested_at",
        "live_at",
        "settled_at",
    )
    actions = ("cancel", "roll_back_to")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Release]:
        rows = super().get_queryset(request)
        # A list of 50 manifests and plans is megabytes that nobody looks at.
        return (
            rows
            if request.resolver_match and request.resolver_match.kwargs.get("object_id")
            else rows.defer("manifest", "plan")
        )

    @admin.display(description="by")
    def by(self, row: Release) -> str:
        said = row.submitted_by
        return str(said.get("operator") or said.get("token_name") or said.get("token") or "")

    @admin.display(description="what came of it")
    def summary(self, row: Release) -> str:
        told: dict[str, Any] = row.evidence or row.waiting or {}
        return str(told.get("summary") or told.get("message") or "")[:120]

    @admin.display(description="manifest")
    def manifest_text(self, row: Release) -> str:
        return bytes(row.manifest).decode()

    @admin.display(description="story")
    def story(self, row: Release) -> str:
        environment = row.environment
        page = reverse("environment", args=[environment.project.slug, environment.slug])
        return format_html('<a href="{}?release={}">Every event of it, in order</a>', page, row.sequence)

    @admin.action(description="Cancel", permissions=["act"])
    def cancel(self, request: HttpRequest, rows: QuerySet[Release]) -> HttpResponse | None:
        consequence = (
            "Releases that are not live yet end as cancelled; nodes revert what they began, and "
            "what ran before goes on."
        )
        asked = actions.asked_back(
            self, request, rows, action="cancel", verb="Cancel releases", consequence=consequence
        )
        if asked is None:
            actions.carry_out(
                request, rows, lambda row: _cancelled(releases.cancel(release=row, by=actions.by(request)))
            )
        return asked

    @admin.action(description="Roll back to this release", permissions=["act"])
    def roll_back_to(self, request: HttpRequest, rows: QuerySet[Release]) -> HttpResponse | None:
        consequence = (
            "A new release is made from each manifest, with the variables and secrets of now; what "
            "runs serves until it is healthy."
        )
        asked = actions.asked_back(
            self, request, rows, action="roll_back_to", verb="Roll back", consequence=consequence
        )
        if asked is None:
            actions.carry_out(request, rows, lambda row: _rolled_back(row, request))
        return asked


def _cancelled(release: Release) -> str:
    return f"{release.environment}: release {release.sequence} is {release.status}, and asked to end."


def _rolled_back(release: Release, request: HttpRequest) -> str:
    operator = Principal(project_id=release.environment.project_id, operator=request.user.get_username())
    made = releases.roll_back(environment=release.environment, principal=operator, to_sequence=release.sequence)
    return f"{release.environment}: release {made.sequence} was made from release {release.sequence}."


class WhatIsOrdered(Question):
    title = "what is ordered"
    parameter_name = "ordered"
    answers = {
        "open": ("Not done", lambda rows: rows.exclude(status=OrderStatus.DONE)),
        "all": ("All", everything),
    }


@admin.register(Order)
class OrderAdmin(RecordAdmin):
    list_display = ("environment", "sequence", "action", "status", "created_at", "settled_at")
    list_display_links = ("sequence",)
    list_select_related = ("environment__project",)
    list_filter = (WhatIsOrdered, "action")
    search_fields = ("environment__slug", "environment__project__slug")
    ordering = ("-created_at",)
    fields = (
        "environment",
        "sequence",
        "action",
        "status",
        "stopped_sequence",
        "evidence",
        "ordered_by",
        "created_at",
        "offered_at",
        "settled_at",
    )


@admin.register(Payload)
class PayloadAdmin(RecordAdmin):
    """Which payload was made for which node. The sealed part is ciphertext and not shown."""

    list_display = ("environment", "sequence", "node", "generation", "issued_at", "expires_at")
    list_display_links = ("sequence",)
    list_select_related = ("environment__project", "node")
    search_fields = ("environment__slug", "environment__project__slug", "release_digest")
    fields = ("environment", "sequence", "node", "generation", "release_digest", "issued_at", "expires_at")
    ordering = ("-issued_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Payload]:
        return super().get_queryset(request).defer("envelope", "compose", "routes", "volumes", "sealed")


@admin.register(Receipt)
class ReceiptAdmin(RecordAdmin):
    list_display = ("environment", "sequence", "outcome", "node", "received_at")
    list_display_links = ("sequence",)
    list_select_related = ("environment__project", "node")
    list_filter = ("outcome",)
    search_fields = ("environment__slug", "environment__project__slug", "digest")
    fields = ("environment", "sequence", "outcome", "node", "digest", "received_at")
    ordering = ("-received_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        return super().get_queryset(request).defer("envelope")


@admin.register(IdempotentCall)
class IdempotentCallAdmin(RecordAdmin):
    list_display = ("token_id", "key", "status", "created_at")
    search_fields = ("token_id", "key")
    fields = ("token_id", "key", "status", "request_digest", "created_at")
    ordering = ("-created_at",)

"""Projects, profiles and tokens. A token's secret is nowhere to be seen: only its hash is kept."""

from __future__ import annotations

from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from timeline.records import Question, RecordAdmin, everything

from . import tokens
from .models import AgentProfile, AgentToken, Project


@admin.register(Project)
class ProjectAdmin(RecordAdmin):
    list_display = ("slug", "namespace", "created_at")
    search_fields = ("slug", "namespace")
    fields = ("id", "slug", "namespace", "created_at")


@admin.register(AgentProfile)
class AgentProfileAdmin(RecordAdmin):
    list_display = ("name", "project", "harness", "model", "effort")
    list_select_related = ("project",)
    list_filter = ("project", "harness")
    search_fields = ("name", "project__slug", "model")
    fields = ("id", "name", "project", "harness", "model", "effort", "created_at")


def _usable(rows: QuerySet[AgentToken]) -> QuerySet[AgentToken]:
    return rows.filter(Q(expires_at__isnull=True) | Q(expires_at__gt=timezone.now()), revoked_at__isnull=True)


class WhoCanGetIn(Question):
    title = "who can get in"
    parameter_name = "usable"
    answers = {
        "usable": ("Usable tokens", _usable),
        "ended": ("Expired and revoked", lambda rows: rows.exclude(pk__in=_usable(rows).values("pk"))),
        "all": ("All", everything),
    }


@admin.register(AgentToken)
class AgentTokenAdmin(RecordAdmin):
    list_display = ("name", "id", "project", "profile", "state", "scopes", "created_at", "expires_at")
    list_select_related = ("project", "profile")
    list_filter = (WhoCanGetIn, "project")
    search_fields = ("name", "id", "project__slug")
    fields = (
        "name",
        "id",
        "project",
        "profile",
        "state",
        "scopes",
        "environment_ids",
        "created_at",
        "expires_at",
        "revoked_at",
    )
    actions = ("revoke",)

    @admin.display(description="state")
    def state(self, row: AgentToken) -> str:
        return tokens.state_of(row)

    @admin.action(description="Revoke", permissions=["act"])
    def revoke(self, request: HttpRequest, rows: QuerySet[AgentToken]) -> None:
        for row in rows:
            tokens.revoke(token_id=row.pk, by={"operator": request.user.get_username()})
            messages.info(request, f"Token {row.pk} ({row.name}) is revoked; the next call with it is refused.")

"""Environments: which of them need a person, and what a person can do about them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import F, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters

from timeline.records import Question, RecordAdmin, everything

from ..domain.states import EnvironmentState, NodeState, ReleaseStatus
from ..errors import DeploymentError
from ..models import Environment, NamedValue, Observation, Release
from ..pages import sentences
from ..selectors import environments as selected
from ..services import environments, values
from . import actions

_LATE = timedelta(minutes=2)


def _need_me(rows: QuerySet[Environment]) -> QuerySet[Environment]:
    """A node that is silent or broken, reports that are late, or a newest release that failed."""
    newest = Release.objects.filter(environment=OuterRef("pk")).order_by("-sequence").values("status")[:1]
    late = Q(observation__reported_at__lt=timezone.now() - _LATE, state=EnvironmentState.ACTIVE)
    broken = [NodeState.UNREACHABLE, NodeState.FAILED, NodeState.LOST]
    node = Q(node__state__in=broken) | Q(node__quarantined_at__isnull=False)
    rows = rows.annotate(newest_status=Subquery(newest))
    return rows.filter(
        late | node | Q(newest_status__in=[ReleaseStatus.FAILED, ReleaseStatus.UNKNOWN]) | Q(failures__gt=0)
    )


class WhichNeedMe(Question):
    title = "which need me"
    parameter_name = "need"
    answers = {
        "me": ("Need a person", _need_me),
        "open": ("Gate open", lambda rows: rows.filter(gate_open=True)),
        "all": ("All", everything),
    }


@admin.register(Environment)
class EnvironmentAdmin(RecordAdmin):
    list_display = ("__str__", "state", "gate_open", "live", "last_sequence", "node", "reported_at", "failures")
    list_select_related = ("project", "node", "observation")
    list_filter = (WhichNeedMe, "state", "project")
    search_fields = ("slug", "project__slug")
    fields = (
        "standing",
        "id",
        "project",
        "slug",
        "state",
        "gate_open",
        "admitted_profiles",
        "policy",
        "account",
        "location",
        "size",
        "node",
        "generation",
        "last_sequence",
        "failures",
        "retry_at",
        "created_at",
    )
    actions = ("open_gate", "close_gate", "stop", "start", "retire")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Environment]:
        live = Release.objects.filter(environment=OuterRef("pk"), status=ReleaseStatus.LIVE).values("sequence")[:1]
        return super().get_queryset(request).annotate(live_sequence=Subquery(live))

    @admin.display(description="where it stands")
    def standing(self, row: Environment) -> str:
        live = row.releases.filter(status=ReleaseStatus.LIVE).first()
        newest = row.releases.order_by("-sequence").first()
        return sentences.standing(row, live=live, newest=newest, observed=selected.observed(row)).sentence

    @admin.display(description="live release")
    def live(self, row: Any) -> int | None:
        return row.live_sequence

    @admin.display(description="reported", ordering="observation__reported_at")
    def reported_at(self, row: Environment) -> Any:
        observation: Observation | None = getattr(row, "observation", None)
        return observation.reported_at if observation else None

    @admin.action(description="Open the agent gate", permissions=["act"])
    def open_gate(self, request: HttpRequest, rows: QuerySet[Environment]) -> None:
        self._gate(request, rows, is_open=True)

    @admin.action(description="Close the agent gate", permissions=["act"])
    def close_gate(self, request: HttpRequest, rows: QuerySet[Environment]) -> None:
        self._gate(request, rows, is_open=False)

    def _gate(self, request: HttpRequest, rows: QuerySet[Environment], *, is_open: bool) -> None:
        def act(row: Environment) -> str:
            environments.set_gate(environment=row, is_open=is_open, by=actions.by(request))
            return f"The agent gate of {row} is {'open' if is_open else 'closed'}."

        actions.carry_out(request, rows, act)

    @admin.action(description="Stop", permissions=["act"])
    def stop(self, request: HttpRequest, rows: QuerySet[Environment]) -> HttpResponse | None:
        consequence = (
            "The apps are taken down and answer nobody; volumes are detached and nodes given back. "
            "Data, history and secrets stay."
        )
        return self._life(request, rows, "stop", consequence)

    @admin.action(description="Start", permissions=["act"])
    def start(self, request: HttpRequest, rows: QuerySet[Environment]) -> HttpResponse | None:
        return self._life(
            request,
            rows,
            "start",
            "The release that was live is released again, with the variables and secrets of now.",
        )

    @admin.action(description="Retire", permissions=["act"])
    def retire(self, request: HttpRequest, rows: QuerySet[Environment]) -> HttpResponse | None:
        consequence = (
            "The environments end for good and cannot be started again. Their volumes stay until "
            "they are deleted by command."
        )
        return self._life(request, rows, "retire", consequence)

    def _life(
        self, request: HttpRequest, rows: QuerySet[Environment], name: str, consequence: str
    ) -> HttpResponse | None:
        asked = actions.asked_back(self, request, rows, action=name, verb=name.capitalize(), consequence=consequence)
        if asked is None:
            change = getattr(environments, name)
            actions.carry_out(request, rows, lambda row: _is_now(change(environment=row, by=actions.by(request))))
        return asked

    def get_urls(self) -> list[URLPattern]:
        set_value = self.admin_site.admin_view(sensitive_post_parameters("value")(self.set_value))
        return [path("<uuid:pk>/set-value/", set_value, name="deployments_environment_set_value"), *super().get_urls()]

    def set_value(self, request: HttpRequest, pk: Any) -> HttpResponseBase:
        """Set a variable or a secret: the form is written to, and shows nothing of what is stored."""
        environment = get_object_or_404(Environment.objects.select_related("project"), pk=pk)
        if not self.has_act_permission(request):
            return HttpResponse("This is not yours to do.", status=403, content_type="text/plain")
        form = ValueForm(request.POST or None)
        if form.is_valid() and form.store(environment, request):
            return HttpResponseRedirect(reverse("admin:deployments_environment_change", args=[pk]))
        context = {
            **self.admin_site.each_context(request),
            "title": "Set a variable or secret",
            "form": form,
            "environment": environment,
        }
        return TemplateResponse(request, "admin/deployments/set_value.html", context)


def _is_now(environment: Environment) -> str:
    return f"{environment} is {environment.state}."


class WriteOnly(forms.Textarea):
    """Takes text of several lines, as keys and certificates are, and never shows any."""

    def format_value(self, value: Any) -> str:
        return ""


class ValueForm(forms.Form):
    """The value is never sent back to the browser, also when the form is shown again."""

    kind = forms.ChoiceField(choices=[(NamedValue.SECRET, "secret"), (NamedValue.VARIABLE, "variable")])
    name = forms.CharField(max_length=128)
    value = forms.CharField(strip=False, required=False, widget=WriteOnly(attrs={"rows": 4, "autocomplete": "off"}))

    def clean_value(self) -> str:
        """Browsers send each line end as CR LF, whatever was typed or pasted."""
        return str(self.cleaned_data["value"]).replace("\r\n", "\n")

    def store(self, environment: Environment, request: HttpRequest) -> bool:
        """Whether it was stored; a refusal stands in the form."""
        given = self.cleaned_data
        try:
            row, warnings = values.set_value(
                environment=environment,
                kind=given["kind"],
                name=given["name"],
                value=given["value"].encode(),
                by=actions.by(request),
            )
        except DeploymentError as refusal:
            self.add_error(None, f"{refusal} ({refusal.code})")
            return False
        for warning in warnings:
            messages.warning(request, warning)
        messages.info(request, f"{row.kind.capitalize()} {row.name} is set, version {row.version}.")
        return True


@admin.register(NamedValue)
class NamedValueAdmin(RecordAdmin):
    """Names and versions. Neither ciphertext nor a variable's text is shown in the list."""

    list_display = ("name", "kind", "environment", "version", "set_at", "set_by")
    list_select_related = ("environment__project",)
    list_filter = ("kind", "environment__project")
    search_fields = ("name", "environment__slug", "environment__project__slug")
    fields = ("name", "kind", "environment", "version", "set_at", "set_by", "kek_id")

    def get_queryset(self, request: HttpRequest) -> QuerySet[NamedValue]:
        return super().get_queryset(request).defer("ciphertext", "value")


class WhoIsLate(Question):
    title = "who is late"
    parameter_name = "late"
    answers = {
        "late": ("Reports late", lambda rows: rows.filter(reported_at__lt=timezone.now() - _LATE)),
        "drifted": (
            "Not running what was released",
            lambda rows: rows.exclude(current_sequence=F("max_seen_sequence")),
        ),
        "all": ("All", everything),
    }


@admin.register(Observation)
class ObservationAdmin(RecordAdmin):
    list_display = ("environment", "current_sequence", "max_seen_sequence", "reported_at")
    list_select_related = ("environment__project",)
    list_filter = (WhoIsLate,)
    search_fields = ("environment__slug", "environment__project__slug")
    fields = (
        "environment",
        "reported_at",
        "dimensions",
        "services",
        "routes",
        "apply",
        "current_sequence",
        "max_seen_sequence",
    )
    ordering = ("reported_at",)

"""The pages: every environment at a glance, and one environment with the story of a release."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib.admin.views.decorators import staff_member_required
from django.db.models import Prefetch
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from timeline import events

from ..domain.states import RELEASE_PENDING, ReleaseStatus
from ..models import Environment, Release
from ..selectors import environments as selected
from . import sentences

_RELEASES_SHOWN = 30
_ENVIRONMENTS_SHOWN = 500
_EVENTS_SHOWN = 1000


@require_safe
@staff_member_required
def overview(request: HttpRequest) -> HttpResponse:
    """Projects and environments, those that need a person first."""
    unsettled = Prefetch(
        "releases", Release.objects.filter(status__in=_TELLING).defer("manifest", "plan"), to_attr="telling"
    )
    rows = Environment.objects.select_related("project", "node", "observation").prefetch_related(unsettled)
    lines = [_line(row) for row in rows.order_by("project__slug", "slug")[:_ENVIRONMENTS_SHOWN]]
    lines.sort(key=lambda line: sentences.URGENT_FIRST[line["standing"].tone])
    return render(request, "deployments/overview.html", {"lines": lines, "now": timezone.now()})


# A failed release tells as long as no newer one is live.
_TELLING = [*RELEASE_PENDING, ReleaseStatus.LIVE, ReleaseStatus.FAILED, ReleaseStatus.UNKNOWN]


def _line(environment: Environment) -> dict[str, Any]:
    releases = sorted(environment.telling, key=lambda row: -row.sequence)  # type: ignore[attr-defined]
    live = next((row for row in releases if row.status == ReleaseStatus.LIVE), None)
    pending = next((row for row in releases if row.status in RELEASE_PENDING), None)
    observed = selected.observed(environment, pending)
    return {
        "environment": environment,
        "live": live,
        "pending": pending,
        "dimensions": _dimensions(observed),
        "standing": sentences.standing(
            environment, live=live, newest=releases[0] if releases else None, observed=observed
        ),
    }


@require_safe
@staff_member_required
def environment(request: HttpRequest, project: str, slug: str) -> HttpResponse:
    """One environment. `?release=N` chooses whose story is told; the newest unless said."""
    row = (
        Environment.objects.select_related("project", "node", "observation")
        .filter(project__slug=project, slug=slug)
        .first()
    )
    if row is None:
        raise Http404
    releases = list(row.releases.defer("manifest").order_by("-sequence")[:_RELEASES_SHOWN])
    live = row.releases.filter(status=ReleaseStatus.LIVE).first()
    chosen = _chosen(request, row, releases)
    represented = selected.represent(row)
    context = {
        "environment": row,
        "standing": sentences.standing(
            row, live=live, newest=releases[0] if releases else None, observed=represented["observed"]
        ),
        "dimensions": _dimensions(represented["observed"]),
        "observation": getattr(row, "observation", None),
        "releases": releases,
        "chosen": chosen,
        "story": _story(chosen) if chosen else [],
        "services": sorted((chosen.evidence or {}).get("services", {}).items()) if chosen else [],
        "routes": represented["routes"],
        "volumes": represented["volumes"],
        "variables": represented["variables"],
        "secrets": represented["secrets"],
        "policy": represented["policy"],
        "now": timezone.now(),
    }
    return render(request, "deployments/environment.html", context)


def _chosen(request: HttpRequest, environment: Environment, releases: list[Release]) -> Release | None:
    asked = request.GET.get("release", "")
    if not asked:
        return releases[0] if releases else None
    if not (asked.isascii() and asked.isdigit() and len(asked) <= 18):
        raise Http404
    found = environment.releases.filter(sequence=int(asked)).first()
    if found is None:
        raise Http404
    return found


# Of use to machines, and on this page already told by the columns beside.
_UNTOLD = frozenset({"at", "event_id", "sequence", "state"})


def _story(release: Release) -> list[dict[str, Any]]:
    """Every event of the release, oldest first, with the seconds since it was accepted; an ended step is one line."""
    rows = list(events.of_subject("release", release.pk)[:_EVENTS_SHOWN])
    ended = {row.data.get("step") for row in rows if row.data.get("state") in ("end", "failed")}
    begun: dict[str, str] = {}
    story = []
    for row in rows:
        step, state = row.data.get("step"), row.data.get("state")
        if state == "begin" and step in ended and not row.data.get("detail"):
            begun[step] = row.data["at"]
            continue
        story.append(
            {
                "at": row.at,
                "after": f"{(row.at - release.created_at).total_seconds():.1f} s",
                "kind": row.kind,
                "severity": row.severity,
                "who": _who(row.by),
                "facts": _facts(row.data, begun.get(step) if step else None),
            }
        )
    return story


def _facts(data: dict[str, Any], begun: str | None) -> list[tuple[str, Any]]:
    """What an event says; of a step that has ended, how long the node took for it."""
    told = [
        (name, value) for name, value in sorted(data.items()) if value not in (None, "", {}, []) and name not in _UNTOLD
    ]
    if begun is None:
        return told
    took = datetime.fromisoformat(data["at"]) - datetime.fromisoformat(begun)
    word = "failed after" if data["state"] == "failed" else "took"
    return [*told, (word, f"{took.total_seconds() * 1000:.0f} ms")]


def _who(by: dict[str, str]) -> str:
    if "operator" in by:
        return f"operator {by['operator']}"
    if "token" in by:
        profile = f", profile {by['profile']}" if by.get("profile") else ""
        return f"agent token {by.get('token_name') or by['token']}{profile}"
    return f"node {by['node'][:8]}" if by.get("node") else ""


def _dimensions(observed: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "tone": sentences.tone(one), **one} for name, one in observed.items()]

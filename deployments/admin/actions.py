"""Actions on rows: asked back with their consequence, carried out by a service, refused with its own words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from agents.errors import AgentsError

from ..errors import DeploymentError

Done = Callable[[Any], str]


def by(request: HttpRequest) -> dict[str, str]:
    """Who acts, for events."""
    return {"operator": request.user.get_username()}


def carry_out(request: HttpRequest, rows: Iterable[Any], act: Done) -> None:
    """Act on each row; one that is refused costs the others nothing. `act` answers what is so now."""
    for row in rows:
        try:
            messages.info(request, act(row))
        except (DeploymentError, AgentsError) as refusal:
            messages.error(request, f"{row}: {refusal} ({refusal.code})")


def asked_back(
    admin: ModelAdmin[Any], request: HttpRequest, rows: QuerySet[Any], *, action: str, verb: str, consequence: str
) -> TemplateResponse | None:
    """The page that tells the consequence and asks; None once it was answered with yes."""
    if request.POST.get("confirmed") == "yes":
        return None
    context = {
        **admin.admin_site.each_context(request),
        "title": verb,
        "opts": admin.opts,
        "rows": rows,
        "action": action,
        "verb": verb,
        "consequence": consequence,
    }
    return TemplateResponse(request, "admin/deployments/confirm.html", context)

"""Volumes as they were observed, and ordered ahead of the release that declares them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents.principals import Scope
from timeline.models import Event

from ....domain.states import VolumeState
from ....models import Volume
from ....selectors import environments, visibility
from ....services import gates, volume_orders
from .. import bodies, shapes
from .. import documentation as docs
from ..cursors import Page
from ..idempotency import Stored, idempotent
from .base import AgentView


def _found_again(view: AgentView, claim_id: int) -> Any | None:
    """The volume that a call ordered under this claim before it died."""
    mine = Volume.objects.filter(environment__in=visibility.environments(view.principal))
    ordered = Event.objects.filter(kind="volume:ordered", by__call=str(claim_id)).values_list("subject_id", flat=True)
    volume = mine.filter(pk__in=list(ordered)).first()
    return environments.represent_volume(volume) if volume else None


class VolumeList(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ, "POST": Scope.RELEASES_WRITE}

    @extend_schema(
        operation_id="list_volumes", parameters=docs.PAGE, responses=docs.answers({200: shapes.VolumeList}, 400, 404)
    )
    def get(self, request: Request, slug: str) -> Response:
        """The volumes of an environment, newest first."""
        environment = self.environment(slug)
        asked = self.parameters()
        page = Page(asked, environment.volumes.exclude(state=VolumeState.DELETED), "created_at", "id")
        asked.check()
        return Response(page.answer(environments.represent_volume))

    @extend_schema(
        operation_id="create_volume",
        parameters=[docs.IDEMPOTENCY_KEY],
        request=bodies.VolumeBody,
        responses=docs.answers({201: shapes.Volume}, 400, 404, 409, 413, 415, 422),
    )
    @idempotent(recover=_found_again)
    def post(self, request: Request, slug: str) -> Response:
        """Order a volume that no release declares yet, within the policy. A release that declares it mounts it."""
        environment = self.environment(slug)
        self.no_parameters()
        body = bodies.read(request, bodies.VolumeBody)
        by = replace(self.principal, idempotent_call=self.claim_id).as_by()
        gates.check(environment, self.principal)
        made = volume_orders.create(environment=environment, name=body.name, size_gb=body.size_gb, by=by)
        return Stored(environments.represent_volume(made), status=201)

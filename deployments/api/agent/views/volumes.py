"""Volumes as they were observed. Creating them through the API comes later; a release that declares one makes it."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents.principals import Scope

from ....domain.states import VolumeState
from ....errors import NotBuiltYet
from ....selectors import environments
from .. import documentation as docs
from .. import shapes
from ..cursors import Page
from .base import AgentView


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

    @extend_schema(exclude=True)
    def post(self, request: Request, slug: str) -> Response:
        """Not built yet: declare the volume in the Compose file, and its first release makes it."""
        self.environment(slug)
        raise NotBuiltYet("Creating volumes through the API")

"""What every view of the agents' API has: a principal, scopes per method, and the environments that it may see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from agents import projects
from agents.errors import InvalidName
from agents.principals import Principal, Scope

from ....errors import NotFound
from ....models import Environment, Release
from ....selectors import visibility
from ..authentication import AgentTokenAuthentication, HasScope
from ..parameters import Parameters

_SEQUENCE = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class AgentView(APIView):
    """`scopes` names what each method needs. The order is: token (401), scope (403), environment (404), parameters
    (400)."""

    scopes: ClassVar[Mapping[str, Scope]] = {}
    authentication_classes = [AgentTokenAuthentication]
    permission_classes = [IsAuthenticated, HasScope]
    renderer_classes: list[type[BaseRenderer]] = [JSONRenderer]
    metadata_class = None
    # Set by the idempotency of a write; stored with what the write stores.
    claim_id: int | None = None

    @property
    def principal(self) -> Principal:
        return self.request.user  # type: ignore[return-value]

    def environment(self, slug: str) -> Environment:
        """Raises NotFound for what is another project's, unnamed by the token, or not there: the three look the
        same."""
        try:
            projects.check_slug("environment", slug)
        except InvalidName as fault:
            raise NotFound("environment", repr(slug[:64])) from fault
        row = visibility.environments(self.principal).filter(slug=slug).first()
        if row is None:
            raise NotFound("environment", slug)
        return row

    def release(self, slug: str, sequence: str) -> Release:
        """Raises NotFound."""
        environment = self.environment(slug)
        row = environment.releases.filter(sequence=int(sequence)).first() if _SEQUENCE.fullmatch(sequence) else None
        if row is None:
            raise NotFound("release", f"{sequence[:20]} of {environment.slug}")
        row.environment = environment
        return row

    def parameters(self) -> Parameters:
        return Parameters(self.request._request.GET)

    def no_parameters(self) -> None:
        """Raises InvalidParameters if there are any."""
        self.parameters().check()

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Response:
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers.setdefault("Cache-Control", "no-store")
        return response


class YamlRenderer(BaseRenderer):
    """Lets callers ask for `application/yaml`; the bytes are written by the view."""

    media_type = "application/yaml"
    format = "yaml"

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return bytes(data)

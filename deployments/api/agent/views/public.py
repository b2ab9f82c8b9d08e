"""What is answered without a token: the OpenAPI document, its page, and the catalogue of problems."""

from __future__ import annotations

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.request import Request
from rest_framework.response import Response

from .... import catalogue
from ... import errors
from .. import documentation as docs
from .. import shapes
from ..parameters import Parameters
from .base import AgentView


class Schema(SpectacularAPIView):
    """The OpenAPI 3.1 document, as YAML or JSON."""

    authentication_classes = []
    permission_classes = []

    @extend_schema(exclude=True)
    def get(self, request: Request, *args: object, **kwargs: object) -> Response:
        """Only what the library knows how to read: its `version` would go into a header as it came."""
        asked = Parameters(request.query_params)
        asked.choice("format", ("json", "yaml"), default="yaml")
        asked.check()
        answer: Response = super().get(request, *args, **kwargs)
        return answer


# Swagger UI draws its icons from data: URLs in its own style sheet.
@method_decorator(csp_update({"img-src": ["'self'", "data:"]}), name="dispatch")
class Docs(SpectacularSwaggerSplitView):
    """The document as a page to browse and try; everything on it is served from here."""

    authentication_classes = []
    permission_classes = []
    url_name = "api-schema"
    template_name = "deployments/api_docs.html"


class Problems(AgentView):
    authentication_classes = []
    permission_classes = []

    @extend_schema(operation_id="list_problems", auth=[], responses={200: shapes.Catalogue, **docs.refusals(400)})
    def get(self, request: Request) -> Response:
        """Every code that a refusal or a problem can have, with an example and its cure."""
        self.no_parameters()
        return Response({"results": [entry.as_json() for entry in catalogue.entries()], "next": None})


def nothing_here(request: HttpRequest) -> HttpResponse:
    return errors.answer(errors.no_such_path(request.path_info))

"""Environments as agents see them, and the credentials to push for them."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from agents.principals import Scope

from ....selectors import environments, visibility
from ....services import push_credentials
from .. import bodies, shapes
from .. import documentation as docs
from ..cursors import Page
from .base import AgentView


class EnvironmentList(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(
        operation_id="list_environments",
        parameters=docs.PAGE,
        responses=docs.answers({200: shapes.EnvironmentList}, 400),
    )
    def get(self, request: Request) -> Response:
        """The environments that the token names, newest first."""
        asked = self.parameters()
        rows = visibility.environments(self.principal).prefetch_related(*environments.PARTS)
        page = Page(asked, rows, "created_at", "id")
        asked.check()
        return Response(page.answer(lambda row: environments.represent(row, self.principal)))


class EnvironmentDetail(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(operation_id="get_environment", responses=docs.answers({200: shapes.Environment}, 400, 404))
    def get(self, request: Request, slug: str) -> Response:
        """One environment: its state, what was last observed of it, and the policy as it applies to the caller."""
        environment = self.environment(slug)
        self.no_parameters()
        return Response(environments.represent(environment, self.principal))


class RegistryCredentials(AgentView):
    scopes = {"POST": Scope.REGISTRY_PUSH}

    @extend_schema(
        operation_id="get_registry_credentials",
        request=None,
        responses=docs.answers({201: shapes.Credentials}, 400, 404, 409, 413, 415, 422, 429, 503),
    )
    def post(self, request: Request, slug: str) -> Response:
        """Short-lived credentials to push images into the project's namespace. 10 per 300 s and project, failures
        included.

        The answer is never kept: an Idempotency-Key is not looked at.
        """
        environment = self.environment(slug)
        self.no_parameters()
        bodies.read(request, bodies.Nothing)
        minted = push_credentials.mint(environment=environment, principal=self.principal)
        body = {
            "registry": minted.registry,
            "username": minted.username,
            "password": minted.password.reveal(),
            "namespace": minted.namespace,
            "expires_at": minted.expires_at,
            "path_scoped": minted.path_scoped,
            "instructions": minted.instructions,
        }
        return Response(body, status=201, headers={"Cache-Control": "no-store", "Pragma": "no-cache"})

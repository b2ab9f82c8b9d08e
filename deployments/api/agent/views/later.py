"""Calls that the contract names and this version does not answer yet: refused as that, after token and scope.

They are not in the OpenAPI document, which lists what can be had now.
"""

from __future__ import annotations

from typing import NoReturn

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from agents.principals import Scope

from ....errors import NotBuiltYet
from .base import AgentView


class Sessions(AgentView):
    scopes = {"POST": Scope.TIMELINE_WRITE}

    @extend_schema(exclude=True)
    def post(self, request: Request) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The sessions API")


class SessionDetail(AgentView):
    scopes = {"PATCH": Scope.TIMELINE_WRITE}

    @extend_schema(exclude=True)
    def patch(self, request: Request, session_id: str) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The sessions API")


class SessionMessages(AgentView):
    scopes = {"POST": Scope.TIMELINE_WRITE}

    @extend_schema(exclude=True)
    def post(self, request: Request, session_id: str) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The sessions API")


class Profiles(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(exclude=True)
    def get(self, request: Request) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The profiles API")


class ProfileLaunch(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(exclude=True)
    def get(self, request: Request, name: str) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The profiles API")

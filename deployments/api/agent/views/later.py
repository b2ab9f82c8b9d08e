"""Calls that the contract names and this version does not answer yet: refused as that, after token and scope."""

from __future__ import annotations

from typing import NoReturn

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request

from agents.principals import Scope

from ....errors import NotBuiltYet
from .. import documentation as docs
from .base import AgentView

_RESPONSES = docs.answers({}, 501)


class Sessions(AgentView):
    scopes = {"POST": Scope.TIMELINE_WRITE}

    @extend_schema(operation_id="create_session", request=None, responses=_RESPONSES)
    def post(self, request: Request) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The sessions API")


class SessionDetail(AgentView):
    scopes = {"PATCH": Scope.TIMELINE_WRITE}

    @extend_schema(operation_id="change_session", request=None, responses=_RESPONSES)
    def patch(self, request: Request, session_id: str) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The sessions API")


class SessionMessages(AgentView):
    scopes = {"POST": Scope.TIMELINE_WRITE}

    @extend_schema(operation_id="add_messages", request=None, responses=_RESPONSES)
    def post(self, request: Request, session_id: str) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The sessions API")


class Profiles(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(operation_id="list_profiles", responses=_RESPONSES)
    def get(self, request: Request) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The profiles API")


class ProfileLaunch(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(operation_id="get_profile_launch", responses=_RESPONSES)
    def get(self, request: Request, name: str) -> NoReturn:
        """Not built yet."""
        raise NotBuiltYet("The profiles API")

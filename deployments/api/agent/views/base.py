"""What every view of the agents' API has: a principal, scopes per method, and environments that it may see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

from agents import projects
from agents.errors import InvalidName
from agents.principals import Principal, Scope

from .... import selectors  # noqa: F401
from ....errors import NotBuiltYet, NotFound
from ....models import Environment
from ....selectors import environments
from ..authentication import AgentTokenAuthentication, HasScope
from ..parameters import Parameters

"""Who calls: a bearer token turned into a principal, and whether its scopes reach what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from agents import tokens
from agents.principals import Principal

from ...errors import DeploymentError

if TYPE_CHECKING:
    from .views.base import AgentView

_REALM = 'Bearer realm="sam"'
_HEADER_MAX_BYTES = 256


class ScopeMissing(DeploymentError):
    """The token is known, and what it asks for is beyond its scopes."""

    code, status = "token.scope", 403

    def __init__(self, scope: str, held: frozenset[str]):
        self.scope, self.held = scope, held
        self.headers = {"WWW-Authenticate": f'{_REALM}, error="insufficient_scope", scope="{scope}"'}

    def __str__(self) -> str:
        held = ", ".join(sorted(self.held)) or "none"
        return (
            f"This call needs the scope {self.scope}; the token has {held}. An operator makes one "
            f"with `manage.py agent_token create --scope {self.scope}`."
        )


class AgentTokenAuthentication(BaseAuthentication):
    """`Authorization: Bearer sam_<id>_<secret>`. Unknown, expired and revoked tokens are told apart by nobody."""

    def authenticate(self, request: Request) -> tuple[Principal, str] | None:
        header = get_authorization_header(request)
        if not header:
            return None
        scheme, _, text = header.partition(b" ")
        principal = tokens.authenticate(_text(text)) if scheme.lower() == b"bearer" else None
        if principal is None:
            raise AuthenticationFailed("The token is malformed, unknown, expired or revoked")
        return principal, principal.token_id or ""

    def authenticate_header(self, request: Request) -> str:
        return f'{_REALM}, error="invalid_token"' if get_authorization_header(request) else _REALM


def _text(raw: bytes) -> str:
    """The header's token; an empty text, which is no token, for what cannot be one."""
    raw = raw.strip()
    return raw.decode("ascii", errors="replace") if len(raw) <= _HEADER_MAX_BYTES else ""


class HasScope(BasePermission):
    """Asked before anything is looked up, so that a token without the scope learns nothing of what exists."""

    def has_permission(self, request: Request, view: AgentView) -> bool:  # type: ignore[override]
        scope = view.scopes.get("GET" if request.method == "HEAD" else request.method or "")
        # A method that the view does not have needs no scope: it is answered with 405.
        held = view.principal.scopes
        if scope is not None and scope not in held:
            raise ScopeMissing(scope, held)
        return True


class AgentTokenScheme(OpenApiAuthenticationExtension):
    """How the OpenAPI document describes the tokens."""

    target_class = "deployments.api.agent.authentication.AgentTokenAuthentication"
    name = "agentToken"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "sam_<id>_<secret>, made by `manage.py agent_token create`.",
        }

"""Push credentials for an environment: policy before quota, quota before mint."""

from __future__ import annotations

from typing import Any

from agents.principals import Principal
from registry import credentials
from registry.ports import PushCredentials

from ..errors import DeploymentError
from ..models import Environment
from . import gates


def mint(*, environment: Environment, principal: Principal) -> PushCredentials:
    """Short-lived credentials for the project's namespace.

    Raises EnvironmentNotActive, GateClosed, ProfileNotAdmitted (nothing is consumed), then what the registry refuses:
    QuotaExceeded, MintFailed (the quota is).
    """
    request: Any = {
        "project_id": environment.project_id,
        "environment_id": environment.pk,
        "namespace": environment.project.namespace,
        "requested_by": principal.as_by(),
    }
    try:
        gates.check(environment, principal)
    except DeploymentError as refusal:
        credentials.record_refusal(**request, code=refusal.code)
        raise
    return credentials.mint_push(**request)

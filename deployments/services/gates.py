"""The gate that an operator opens for agents: asked before anything is consumed, and before anything is told."""

from __future__ import annotations

from agents.principals import Principal

from ..domain.states import EnvironmentState
from ..errors import EnvironmentNotActive, GateClosed, ProfileNotAdmitted
from ..models import Environment


def check(environment: Environment, principal: Principal) -> None:
    """Whether this caller may act on the environment now. Operators are not asked for the gate.

    Raises EnvironmentNotActive, GateClosed, ProfileNotAdmitted, in this order.
    """
    if environment.state != EnvironmentState.ACTIVE:
        raise EnvironmentNotActive(environment, environment.state)
    check_admitted(environment, principal)


def check_admitted(environment: Environment, principal: Principal) -> None:
    """Whether the gate lets this caller act, whatever the state. Raises GateClosed, ProfileNotAdmitted."""
    if principal.operator:
        return
    if not environment.gate_open:
        raise GateClosed(environment)
    if environment.admitted_profiles and principal.profile not in environment.admitted_profiles:
        raise ProfileNotAdmitted(environment, principal.profile)

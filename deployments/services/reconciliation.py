"""The one entry for everything that has to move in an environment, whoever noticed that it should."""

from __future__ import annotations

from uuid import UUID

from ..domain.states import EnvironmentState
from ..models import Environment
from . import releases, shutdowns, sweeps

_ENDING = frozenset({EnvironmentState.STOPPING, EnvironmentState.RETIRING})


def advance(environment_id: UUID) -> None:
    """Bring one environment a step closer to what is wanted of it. Safe to run at any time, by any number."""
    environment = Environment.objects.select_related("project", "node").filter(pk=environment_id).first()
    if environment is None:
        return
    try:
        if environment.state in _ENDING:
            shutdowns.advance(environment)
        elif environment.state in (EnvironmentState.ACTIVE, EnvironmentState.STARTING):
            releases.advance(environment)
    except Exception:
        sweeps.back_off(environment_id)
        raise

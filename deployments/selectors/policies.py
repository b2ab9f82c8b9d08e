"""The policy of an environment: the defaults, what an operator changed, and the project's own namespace."""

from __future__ import annotations

from django.conf import settings

from ..domain.policy import Policy
from ..models import Environment


def of(environment: Environment) -> Policy:
    """The built-in registry's namespace of the project always belongs to it, whatever an operator allows beside."""
    host = settings.REGISTRY_URL.split("://", 1)[1]
    return Policy.of(environment.policy, registry_host=host, namespace=environment.project.namespace)

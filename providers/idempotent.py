"""Creating exactly once where a provider cannot promise it: look for the key first, adopt what is ours, never guess.

Whoever calls has claimed the resource's row (one caller at a time, and no transaction open over the network), so that
two resources of one key come from a foreign hand or from a lost answer only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from providers.errors import SpecMismatch
from providers.ports import ComputeProvider, Outcome, ResourceKey, Server, Volume

SETTLE_WINDOW_SECONDS = 45
"""How long after an unknown outcome a resource may still be missing from the cloud's answers. Terraform's provider for
Scaleway waits 30 s for 404s after a create; the rest is margin. Not shortened by any option."""

_NEVER = datetime.max.replace(tzinfo=UTC)


class Resource(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def key(self) -> ResourceKey | None: ...

    @property
    def created_at(self) -> datetime | None: ...


R = TypeVar("R", bound=Resource)


def create_once(
    *,
    found: Sequence[R],
    differences: Callable[[R], str],
    create: Callable[[], Outcome[R]],
    resume: Callable[[R], Outcome[R]],
) -> Outcome[R]:
    """Answer the resource among the `found` ones (all live ones with the key), or create it.

    None: create. One that matches: resume it. One that differs: SpecMismatch, whatever it would take to make it match.
    Several: the oldest counts, so that everyone chooses the same one; the others are named in `surplus`.
    """
    if not found:
        return create()
    kept, *others = oldest_first(found)
    difference = differences(kept)
    if difference:
        raise SpecMismatch(f"{kept.id} has the same key and differs: {difference}", resource_id=kept.id)
    outcome = resume(kept)
    surplus = tuple(other.id for other in others)
    return Outcome(outcome.value, outcome.pending, outcome.surplus + surplus)


def oldest_first(resources: Sequence[R]) -> list[R]:
    """By age, then id: an order that does not depend on who looks."""
    return sorted(resources, key=lambda resource: (resource.created_at or _NEVER, resource.id))


def find_servers(provider: ComputeProvider, key: ResourceKey) -> list[Server]:
    """The live servers with this key, oldest first: what to ask after the settle window."""
    listed = provider.list_servers(installation=key.installation, environment_id=key.environment_id)
    return oldest_first([server for server in listed if _is(server, key)])


def find_volumes(provider: ComputeProvider, key: ResourceKey) -> list[Volume]:
    """The live volumes with this key, oldest first."""
    listed = provider.list_volumes(installation=key.installation, environment_id=key.environment_id)
    return oldest_first([volume for volume in listed if _is(volume, key)])


def _is(resource: Resource, key: ResourceKey) -> bool:
    return resource.key is not None and resource.key.labels() == key.labels()

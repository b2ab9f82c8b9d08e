"""The plan: what a release would change, restart or take down, told before anything is stored."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from deployments.domain import manifest as manifests
from deployments.domain import policy as policies
from deployments.domain import references, routes
from deployments.domain.diff import Change, diff
from deployments.domain.manifest import Manifest, Route, canonical_json
from deployments.domain.policy import Policy
from deployments.domain.problems import Places, Problem

Downtime = Literal["none", "brief", "stop-first"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What the release would do. `missing_secrets` are names without a value; `policy` the faults against it."""

    plan_hash: str
    from_sequence: int
    to: Mapping[str, Any]
    changes: tuple[Change, ...]
    restarts: tuple[str, ...]
    downtime: Downtime
    downtime_reason: str
    new_routes: tuple[Route, ...]
    volumes_created: tuple[str, ...]
    missing_secrets: tuple[str, ...]
    policy: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    def as_json(self) -> dict[str, Any]:
        """The plan as every door answers it."""
        return {
            "plan_hash": self.plan_hash,
            "from_sequence": self.from_sequence,
            "to": dict(self.to),
            "changes": [change.as_json() for change in self.changes],
            "restarts": list(self.restarts),
            "downtime": self.downtime,
            "downtime_reason": self.downtime_reason,
            "new_routes": [_route_json(route) for route in self.new_routes],
            "volumes_created": list(self.volumes_created),
            "missing_secrets": list(self.missing_secrets),
            "policy": [problem.as_json() for problem in self.policy],
            "warnings": [problem.as_json() for problem in self.warnings],
        }


def plan(
    *,
    old: Manifest | None,
    new: Manifest,
    newest_sequence: int,
    live_sequence: int,
    old_versions: Mapping[str, int],
    versions: Mapping[str, int],
    existing_volumes: frozenset[str],
    policy: Policy,
    warnings: tuple[Problem, ...] = (),
) -> Plan:
    """The plan of making `new` the release after `newest_sequence`, beside `old`, which is live (None: nothing is).

    `versions` holds the variables and secrets that exist now by name, `old_versions` those that the live release was
    resolved with: a service whose references have moved restarts even if its definition did not change.
    """
    restarts = tuple(sorted(_restarting(old, new, old_versions, versions)))
    downtime, reason = _downtime(old, new, restarts)
    missing = _missing(new, versions)
    return Plan(
        plan_hash=plan_hash(
            new, newest_sequence=newest_sequence, live_sequence=live_sequence, versions=versions, policy=policy
        ),
        from_sequence=live_sequence,
        to={"sequence": newest_sequence + 1, "manifest_digest": manifests.digest(new)},
        changes=diff(old, new),
        restarts=restarts,
        downtime=downtime,
        downtime_reason=reason,
        new_routes=tuple(route for route in routes.public(new) if old is None or route not in old.routes),
        volumes_created=tuple(sorted(new.volumes.keys() - existing_volumes)),
        missing_secrets=missing,
        policy=policies.check(new, policy, Places()),
        warnings=warnings,
    )


def plan_hash(
    new: Manifest, *, newest_sequence: int, live_sequence: int, versions: Mapping[str, int], policy: Policy
) -> str:
    """`sha256:HEX` over everything that the plan was made from; another answer means that something moved since."""
    names = sorted({expression.name for expression in references.expressions(new)})
    inputs = {
        "manifest": manifests.digest(new),
        "newest_sequence": newest_sequence,
        "live_sequence": live_sequence,
        "versions": [[name, versions.get(name)] for name in names],
        # As text: a policy may have a fraction of a processor, and canonical JSON here has no floats.
        "policy": [[name, repr(value)] for name, value in sorted(policy.as_json().items())],
    }
    return f"sha256:{hashlib.sha256(canonical_json(inputs)).hexdigest()}"


def _missing(new: Manifest, versions: Mapping[str, int]) -> tuple[str, ...]:
    needed = {found.name for found in references.expressions(new) if found.is_required}
    return tuple(sorted(needed - versions.keys()))


def _restarting(
    old: Manifest | None, new: Manifest, old_versions: Mapping[str, int], versions: Mapping[str, int]
) -> set[str]:
    """The services of both manifests whose containers are replaced."""
    if old is None:
        return set()
    return {
        name
        for name in old.services.keys() & new.services.keys()
        if _definition(old, name) != _definition(new, name)
        or any(old_versions.get(found) != versions.get(found) for found in _names_in(new, name))
    }


def _definition(manifest: Manifest, name: str) -> tuple[Any, frozenset[int]]:
    """What a container is made from: its service, and the ports that are published because a route is public."""
    return manifest.services[name], frozenset(
        route.port for route in manifest.routes if route.service == name and route.mode == "public"
    )


def _names_in(manifest: Manifest, service: str) -> set[str]:
    only = Manifest(services={service: manifest.services[service]})
    return {found.name for found in references.expressions(only)}


def _downtime(old: Manifest | None, new: Manifest, restarts: tuple[str, ...]) -> tuple[Downtime, str]:
    if old is None:
        return "none", "Nothing is live yet."
    stopped = [
        name for name in restarts if new.services[name].update_order == "stop-first" and not new.services[name].job
    ]
    if stopped:
        return "stop-first", f"{_names(stopped)}: stopped before the new one starts, as its update order says."
    gone = sorted(old.services.keys() - new.services.keys())
    lost = [route for route in routes.public(old) if _site(route) not in {_site(other) for other in routes.public(new)}]
    if lost:
        return "brief", f"{len(lost)} public route{'s' * (len(lost) > 1)} of now will no longer be served."
    needed = [name for name in gone if any(name in new.services[other].depends_on for other in new.services)]
    if needed:
        return "brief", f"{_names(needed)}: no longer there."
    if not restarts and not gone:
        return "none", "No container is replaced."
    return "none", "Each new container is healthy before the old one goes."


def _site(route: Route) -> tuple[str | None, str, str | None]:
    """What a visitor asks for: host and path; a route without a host has a site of its own."""
    return (route.host, route.path, None if route.host else f"{route.service}:{route.port}")


def _names(names: list[str]) -> str:
    return ", ".join(names)


def _route_json(route: Route) -> dict[str, Any]:
    return {
        "service": route.service, "port": route.port, "mode": route.mode, "host": route.host, "path": route.path,
    }  # fmt: skip

"""An environment as agents and people see it: what is wanted, what was last observed, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from django.db.models import Prefetch, prefetch_related_objects
from django.utils import timezone

from agents.principals import Principal

from ..domain.states import RELEASE_PENDING, NodeState, ReleaseStatus
from ..models import Environment, NamedValue, Node, Observation, Release, Volume
from . import policies

Dimension = dict[str, Any]
_LOST = ("node.lost", "volume.lost")
_NO_WORD = {"state": "unknown", "code": "observation.none", "summary": "No node has reported on this environment yet."}


# What one environment's answer is made of; a list fetches each part once for all of its rows.
PARTS = (
    Prefetch(
        "releases",
        Release.objects.filter(status__in=[ReleaseStatus.LIVE, *RELEASE_PENDING])
        .defer("manifest")
        .order_by("-sequence"),
        to_attr="current_releases",
    ),
    Prefetch("values", NamedValue.objects.only("environment_id", "name", "kind"), to_attr="named_values"),
    Prefetch("volumes", Volume.objects.exclude(state="deleted"), to_attr="kept_volumes"),
)


class _Parts(Protocol):
    """An environment with its PARTS fetched."""

    current_releases: list[Release]
    named_values: list[NamedValue]
    kept_volumes: list[Volume]


def represent(environment: Environment, principal: Principal | None = None) -> dict[str, Any]:
    """The REST object of an environment. Counts on `selectors.visibility` for what the caller may see of it."""
    prefetch_related_objects([environment], *PARTS)  # those that a list has fetched already are left as they are
    parts = cast(_Parts, environment)
    live = next((each for each in parts.current_releases if each.status == ReleaseStatus.LIVE), None)
    pending = next((each for each in parts.current_releases if each.status in RELEASE_PENDING), None)
    return {
        "id": str(environment.pk),
        "slug": environment.slug,
        "project": environment.project.slug,
        "state": environment.state,
        "policy": _policy(environment, principal),
        "placement": _placement(environment),
        "observed": observed(environment, pending),
        "live_sequence": live.sequence if live else None,
        "pending_sequence": pending.sequence if pending else None,
        "routes": routes(environment, live),
        "variables": [each.name for each in parts.named_values if each.kind == NamedValue.VARIABLE],
        "secrets": [each.name for each in parts.named_values if each.kind == NamedValue.SECRET],
        "volumes": [represent_volume(row) for row in parts.kept_volumes],
        "created_at": environment.created_at.isoformat(),
    }


def _policy(environment: Environment, principal: Principal | None) -> dict[str, Any]:
    profile = principal.profile if principal else None
    admitted = not environment.admitted_profiles or profile in environment.admitted_profiles
    return {
        "gate": "open" if environment.gate_open else "closed",
        "profiles": list(environment.admitted_profiles),
        "admitted": bool(environment.gate_open and admitted) if principal else None,
        **policies.of(environment).as_json(),
    }


def _placement(environment: Environment) -> dict[str, Any]:
    return {
        "account": environment.account,
        "location": environment.location or None,
        "size": environment.size or None,
        "generation": environment.generation,
        "node": represent_node(environment.node) if environment.node else None,
    }


def represent_node(node: Node) -> dict[str, Any]:
    return {
        "id": node.server_id or str(node.pk),
        "provider": node.provider or node.account,
        "account": node.account,
        "state": node.state,
        "last_seen_at": node.last_seen_at.isoformat() if node.last_seen_at else None,
    }


def represent_volume(row: Volume) -> dict[str, Any]:
    return {
        "name": row.name,
        "id": row.volume_id or None,
        "state": row.state,
        "size_gb": row.size_gb,
        "server": row.server_id or None,
    }


def observed(environment: Environment, pending: Release | None = None) -> dict[str, Dimension]:
    """Six dimensions that never collapse into one, each {state, code, summary}, and both clocks.

    Five are the node's word; `provider` is the control plane's own, and so is `node` when the node is silent.
    """
    row: Observation | None = getattr(environment, "observation", None)
    said: Mapping[str, Dimension] = row.dimensions if row else {}
    six = {name: dict(said.get(name, _NO_WORD)) for name in ("app", "node", "routes", "disk", "drift")}
    six["node"] = _node_dimension(environment.node, six["node"])
    six["provider"] = _provider_dimension(environment, pending)
    for dimension in six.values():
        dimension["reported_at"] = row.reported_at.isoformat() if row else None
        dimension["looked_at"] = timezone.now().isoformat()
    return {name: six[name] for name in ("app", "node", "provider", "routes", "disk", "drift")}


def _node_dimension(node: Node | None, said: Dimension) -> Dimension:
    if node is None:
        return {"state": "none", "code": "node.none", "summary": "There is no node; the first release makes one."}
    if node.state == NodeState.UNREACHABLE:
        seen = node.last_seen_at.isoformat() if node.last_seen_at else "never"
        return {
            "state": "warning",
            "code": "node.unreachable",
            "summary": f"The node is silent since {seen}; its apps may run all the same.",
        }
    if node.state in (NodeState.FAILED, NodeState.LOST) and node.fault:
        return {"state": "failed", "code": node.fault["code"], "summary": node.fault["message"]}
    if node.quarantined_at:
        return {
            "state": "failed",
            "code": "node.quarantined",
            "summary": "The node was enrolled again with other keys; an operator has to look.",
        }
    if node.state != NodeState.READY:
        return {"state": "unknown", "code": f"node.{node.state}", "summary": f"The node is {node.state}."}
    return said


def _provider_dimension(environment: Environment, pending: Release | None) -> Dimension:
    """What the pending release waits for at the provider, in the same words; else what is wrong with the node there."""
    waiting = pending.waiting if pending else None
    if waiting and waiting["on"] in ("node", "volume"):
        is_trouble = waiting["code"].startswith("provider.") or waiting["code"] in _LOST
        said = {name: waiting[name] for name in ("code", "message", "since", "retry_at")}
        return {"state": "warning" if is_trouble else "pending", "summary": waiting["message"], **said}
    if environment.node and environment.node.fault:
        fault = environment.node.fault
        return {"state": "failed", "code": fault["code"], "summary": fault["message"]}
    return {"state": "ok" if environment.node else "none", "code": "", "summary": f"Account {environment.account}."}


def routes(environment: Environment, live: Release | None) -> list[dict[str, Any]]:
    """The routes of the live release, each with the URL that its node serves it at."""
    row: Observation | None = getattr(environment, "observation", None)
    if live is None:
        return []
    served = row.routes if row and row.current_sequence == live.sequence and row.routes else live.routes
    return [{name: route.get(name) for name in ("service", "port", "mode", "url", "host", "path")} for route in served]

"""Why a release cannot be offered now, in the words of whoever is in the way; and whether it ever will."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ..domain.states import RELEASE_WITH_NODE, NodeState, VolumeState
from ..models import Environment, Node, Release, Volume
from . import placements


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`on` is node, volume or release. Final: the release fails with it. `more` goes into its evidence then."""

    on: str
    code: str
    message: str
    retry_at: str | None = None
    is_final: bool = False
    more: Any = None


def of(
    environment: Environment, release: Release, node: Node, rows: Sequence[Volume], declared: int
) -> Obstacle | None:
    """The first thing in the way; None: the release can be offered."""
    return _of_node(release, node) or _of_volumes(release, rows, declared) or _of_releases(environment)


def concerns(fault: dict[str, Any], release: Release) -> bool:
    """Whether the release was there already when this happened. What is older is history to it, not its own failure."""
    return datetime.fromisoformat(fault["at"]) >= release.created_at


def _of_node(release: Release, node: Node) -> Obstacle | None:
    fault = node.fault
    if node.state == NodeState.DELETING:
        return _told("node", fault, "node.replacing", "The node before this one is being given back.")
    if node.state in (NodeState.FAILED, NodeState.LOST) and fault:
        more = {"boot": node.boot} if node.boot else None
        return Obstacle("node", fault["code"], fault["message"], is_final=concerns(fault, release), more=more)
    if fault:
        return _told("node", fault, "", "")
    if node.quarantined_at:
        return Obstacle(
            "node", "node.quarantined", "The node was enrolled a second time with other keys; an operator has to look."
        )
    if not placements.is_enrolled(node):
        overdue = (node.operation or {}).get("overdue") or ""
        message = f"The node is {node.state}; the release goes on as soon as it has enrolled. {overdue}".rstrip()
        return Obstacle("node", "node.overdue" if overdue else "node.enrolling", message)
    return None


def _of_volumes(release: Release, rows: Sequence[Volume], declared: int) -> Obstacle | None:
    for row in rows:
        if row.fault:
            is_final = row.fault["is_final"] and concerns(row.fault, release)
            return Obstacle("volume", row.fault["code"], row.fault["message"], row.fault["retry_at"], is_final)
    for row in rows:
        if row.state != VolumeState.ATTACHED or row.operation:
            overdue = (row.operation or {}).get("overdue") or ""
            message = f"Volume {row.name} is {row.state}. {overdue}".rstrip()
            return Obstacle("volume", "volume.overdue" if overdue else "volume.attaching", message)
    if len(rows) < declared:
        return Obstacle("volume", "volume.attaching", "A declared volume is not attached yet.")
    return None


def _of_releases(environment: Environment) -> Obstacle | None:
    if environment.releases.filter(status__in=RELEASE_WITH_NODE).exists():
        return Obstacle("release", "release.in_progress", "The release before this one is still with the node.")
    return None


def _told(on: str, fault: dict[str, Any] | None, code: str, message: str) -> Obstacle:
    if fault is None or (code and fault["is_final"]):
        return Obstacle(on, code, message)
    return Obstacle(on, fault["code"], fault["message"], fault["retry_at"])

"""Why a release cannot be offered now, in the words of whoever is in the way; and whether it ever will."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
    is_trouble: bool = False
    more: Any = None


def of(
    environment: Environment, release: Release, node: Node, rows: Sequence[Volume], declared: int
) -> Obstacle | None:
    """What to say of what is in the way; None: the release can be offered.

    What will never be comes before what takes time, and what goes wrong before what merely goes on.
    """
    found = [*_of_node(release, node), *_of_volumes(release, rows, declared)]
    if not found:
        found = [*_of_releases(environment)]
    return min(found, key=lambda each: (not each.is_final, not each.is_trouble), default=None)


def concerns(fault: dict[str, Any], release: Release) -> bool:
    """Whether the release was there already when this happened. What is older is history to it, not its own failure."""
    return datetime.fromisoformat(fault["at"]) >= release.created_at


def _of_node(release: Release, node: Node) -> Iterator[Obstacle]:
    fault = node.fault
    if node.state == NodeState.DELETING:
        if fault and not fault["is_final"]:
            yield _trouble("node", fault)
        yield Obstacle("node", "node.replacing", "The node before this one is being given back.")
    elif node.state in (NodeState.FAILED, NodeState.LOST) and fault:
        more = {"boot": node.boot} if node.boot else None
        yield _trouble("node", fault, is_final=concerns(fault, release), more=more)
    elif fault:
        yield _trouble("node", fault)
    elif node.quarantined_at:
        told = "The node was enrolled a second time with other keys; an operator has to look."
        yield Obstacle("node", "node.quarantined", told, is_trouble=True)
    elif not placements.is_enrolled(node):
        overdue = (node.operation or {}).get("overdue") or ""
        message = f"The node is {node.state}; the release goes on as soon as it has enrolled. {overdue}".rstrip()
        code = "node.overdue" if overdue else "node.enrolling"
        yield Obstacle("node", code, message, is_trouble=bool(overdue))


def _of_volumes(release: Release, rows: Sequence[Volume], declared: int) -> Iterator[Obstacle]:
    for row in rows:
        if row.fault:
            yield _trouble("volume", row.fault, is_final=row.fault["is_final"] and concerns(row.fault, release))
        elif row.state != VolumeState.ATTACHED or row.operation:
            overdue = (row.operation or {}).get("overdue") or ""
            message = f"Volume {row.name} is {row.state}. {overdue}".rstrip()
            code = "volume.overdue" if overdue else "volume.attaching"
            yield Obstacle("volume", code, message, is_trouble=bool(overdue))
    if len(rows) < declared:
        yield Obstacle("volume", "volume.attaching", "A declared volume is not attached yet.")


def _of_releases(environment: Environment) -> Iterator[Obstacle]:
    if environment.releases.filter(status__in=RELEASE_WITH_NODE).exists():
        yield Obstacle("release", "release.in_progress", "The release before this one is still with the node.")


def _trouble(on: str, fault: dict[str, Any], *, is_final: bool = False, more: Any = None) -> Obstacle:
    return Obstacle(on, fault["code"], fault["message"], fault["retry_at"], is_final, is_trouble=True, more=more)

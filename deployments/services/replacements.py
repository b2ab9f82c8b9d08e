"""Another node for an environment, by an operator's decision: nothing here replaces one by itself."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import transaction

from timeline import events

from .. import nudges
from ..domain.states import RELEASE_WITH_NODE, EnvironmentState, NodeState, ReleaseStatus
from ..errors import DeploymentError, NotFound, WrongState
from ..models import Environment, Node, Release
from . import placements, releases
from .volume_orders import NotConfirmed

By = Mapping[str, str]
# Nothing runs there that the replacement would take down.
_SERVES_NOTHING = frozenset({NodeState.LOST, NodeState.FAILED, NodeState.REQUESTED, NodeState.CREATING})
_NOT_WITH_NODE = (ReleaseStatus.ACCEPTED, ReleaseStatus.WAITING)


class NodeShared(DeploymentError):
    """One machine serves every environment of its account."""

    code = "node.shared"

    def __init__(self, environment: Environment):
        self.environment = environment

    def __str__(self) -> str:
        return (
            f"The node of {self.environment} serves other environments as well and is not replaced for one of them. "
            "Stop and start the environment, or enrol the machine's agent anew."
        )


def replace(*, environment: Environment, confirm: str | None, by: By) -> Environment:
    """Give the node up and bring the app back on another one: volumes move along, the generation grows by one.

    The old node can neither fetch nor report from the commit on; its server is gone before the next one is asked for.
    Safe to call twice. Raises NotFound without a node, WrongState, NodeShared, NotConfirmed.
    """
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        if row.state not in (EnvironmentState.ACTIVE, EnvironmentState.STARTING):
            raise WrongState(row, row.state, "have its node replaced")
        node = row.node
        if node is None:
            raise NotFound("node of", row)
        if node.shared:
            raise NodeShared(row)
        if node.state == NodeState.DELETING:
            return row
        if node.state not in _SERVES_NOTHING and confirm not in (row.slug, str(row)):
            raise NotConfirmed(f"This takes down what runs on node {node.server_id or node.pk} of {row}.", row.slug)
        _give_up(row, node, by)
        nudges.advance(row.pk)
    return row


def _give_up(environment: Environment, node: Node, by: By) -> None:
    wish = _wish(environment)
    placements.begin_release(environment)
    summary = "The node was replaced while it was at this release; nobody can tell how far it came."
    releases.give_up_with_node(environment, code="node.replaced", summary=summary)
    if wish is not None and not environment.releases.filter(status__in=_NOT_WITH_NODE).exists():
        releases.accept(environment=environment, manifest_bytes=bytes(wish.manifest), by=by, plan={})
    events.record(
        **environment.event_place(),
        subject=("environment", environment.pk),
        kind="environment:node_replaced",
        severity="warning",
        by=by,
        data={"node": str(node.pk), "server": node.server_id, "was": node.state},
    )


def _wish(environment: Environment) -> Release | None:
    """What the new node shall run: the release that the old one was at, else the one that was live on it."""
    for statuses in (RELEASE_WITH_NODE, {ReleaseStatus.LIVE}):
        found = environment.releases.filter(status__in=statuses).order_by("-sequence").first()
        if found is not None:
            return found
    return None

"""Placing an environment on a node, exactly once however many releases arrive at once, and taking it off again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from providers.errors import OutcomeUnknown
from timeline import events
from timeline.transitions import transition

from ..domain.states import NODE_HELD, NodeState
from ..models import Environment, Node
from . import accounts, servers

# The node has keys that we know: a payload can be sealed for it, whether or not it answers at this moment.
_ENROLLED = frozenset({NodeState.ENROLLED, NodeState.READY, NodeState.UNREACHABLE, NodeState.DRAINING})
# Its server runs as far as we know, so volumes can be attached.
_RUNNING = frozenset({NodeState.BOOTING, *_ENROLLED})


def ensure(environment_id: UUID) -> Node:
    """The environment's node: the one it is placed on, or a row for a new one. The provider is not asked here.

    The environment's row lock makes all callers queue, and the constraints on Node hold even against a caller that does
    not take it.
    """
    with transaction.atomic():
        environment = Environment.objects.locked(environment_id)
        if environment.node is not None and environment.node.state != NodeState.DELETED:
            return environment.node
        node = _node_for(environment)
        environment.node, environment.generation = node, environment.generation + 1
        environment.save(update_fields=["node", "generation"])
        events.record(
            **environment.event_place(),
            subject=("environment", environment.pk),
            kind="environment:placed",
            data={"node": str(node.pk), "generation": environment.generation},
        )
        return node


def _node_for(environment: Environment) -> Node:
    """A provider with one machine for all has one row for all; elsewhere the row belongs to this environment."""
    if accounts.capabilities_of(environment.account).serves_many_environments:
        held = {"account": environment.account, "shared": True}
        found = Node.objects.select_for_update().filter(**held, state__in=NODE_HELD).first()
        return found or Node.objects.create(**held, provider=accounts.slug_of(environment.account))
    provider = accounts.slug_of(environment.account)
    return Node.objects.create(account=environment.account, provider=provider, owner=environment)


def is_enrolled(node: Node) -> bool:
    return node.state in _ENROLLED and node.quarantined_at is None


def server_of(node: Node) -> str:
    """The server that volumes can be attached to now; empty: not yet, or no more."""
    return node.server_id if node.state in _RUNNING and node.operation is None else ""


def drive(environment: Environment, node: Node) -> Node:
    """One bounded exchange with the provider, if the row needs one and nobody is at it; answers the row as it is."""
    if not servers.time_out(node):
        servers.drive(environment, node)
    return Node.objects.select_related("owner").get(pk=node.pk)


def settle(environment: Environment) -> None:
    """What a node still needs when no release waits for it: its server's making followed to the end, its id found.

    What the provider refused is not asked for again: nobody waits for it.
    """
    node = environment.node
    if node is not None and node.state not in (NodeState.DELETING, NodeState.DELETED) and not servers.is_refused(node):
        drive(environment, node)


def drain(node: Node) -> None:
    """In the caller's transaction: a rented node has its last order. It is heard as before, and gets nothing new."""
    row = Node.objects.select_for_update(of=("self",)).get(pk=node.pk)
    if not row.shared and row.state in (NodeState.ENROLLED, NodeState.READY, NodeState.UNREACHABLE):
        transition(row, to=NodeState.DRAINING)


def begin_release(environment: Environment) -> None:
    """In the caller's transaction, with the environment's row locked: its node is to go, and nothing is taken from it
    any more. A machine that serves many goes on serving the others."""
    node = Node.objects.select_for_update(of=("self",)).filter(environments=environment).first()
    environment.node = node
    if node is None or node.state == NodeState.DELETING:
        return
    if node.shared or node.state == NodeState.DELETED:
        Environment.objects.filter(pk=environment.pk).update(node=None)
        environment.node = None
        return
    unknown = node.fault is not None and node.fault["code"] == OutcomeUnknown.code
    # What may have been made and is not listed yet: asked for again after the settle window, and not before.
    changes: dict[str, Any] = {"failures": 0, "poll_after": None, "retry_at": node.retry_at if unknown else None}
    transition(node, to=NodeState.DELETING, **changes)


def release_node(environment: Environment) -> bool:
    """Take the environment off its node, and give the node's server back. True when it is off."""
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        begin_release(row)
        node = row.node
    if node is None:
        return True
    if not servers.give_back(row, node):
        return False
    Environment.objects.filter(pk=environment.pk, node=node).update(node=None)
    return True

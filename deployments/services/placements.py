"""Placing an environment on a node, exactly once however many releases arrive at once, and giving the node back."""

from __future__ import annotations

import json
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from providers.errors import ProviderError
from providers.ports import ComputeProvider, ResourceKey, ServerSpec
from timeline import events
from timeline.transitions import transition

from ..domain.states import NODE_HELD, NodeState
from ..models import Environment, Node
from . import accounts, attempts, boots, nodes

_TO_MAKE = frozenset({NodeState.REQUESTED, NodeState.CREATING})
# The node has keys that we know: a payload can be sealed for it, whether or not it answers at this moment.
_ENROLLED = frozenset({NodeState.ENROLLED, NodeState.READY, NodeState.UNREACHABLE})
_SERVER_KEY = "node"


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
    if accounts.provider_of(environment.account).capabilities.serves_many_environments:
        held = {"account": environment.account, "shared": True}
        found = Node.objects.select_for_update().filter(**held, state__in=NODE_HELD).first()
        return found or Node.objects.create(**held)
    return Node.objects.create(account=environment.account, owner=environment)


def is_enrolled(node: Node) -> bool:
    return node.state in _ENROLLED and node.quarantined_at is None


def drive(environment: Environment, node: Node) -> Node:
    """One bounded exchange with the provider, if the row needs one and nobody is at it; answers the row as it is."""
    if node.state in _TO_MAKE and attempts.claim(node):
        try:
            _make(environment, node)
        except ProviderError as fault:
            _note(environment, node, fault)
        else:
            attempts.succeeded(node)
    return Node.objects.get(pk=node.pk)


def _make(environment: Environment, node: Node) -> None:
    """Intent first: the row says `creating` and holds the token's hash before the provider hears of the server."""
    provider = accounts.provider_of(environment.account)
    with transaction.atomic():
        if node.state == NodeState.REQUESTED and not transition(node, to=NodeState.CREATING):
            return
        user_data = _user_data(environment, node, provider)
    outcome = provider.create_server(_spec(environment, node, provider, user_data))
    with transaction.atomic():
        Node.objects.filter(pk=node.pk).update(server_id=outcome.value.id)
        # Zero rows: the node was quicker than this answer and has enrolled already.
        transition(node, to=NodeState.BOOTING)


def _user_data(environment: Environment, node: Node, provider: ComputeProvider) -> str:
    """In the caller's transaction. A machine that serves many has an agent already, which waits for the document."""
    document = nodes.enrolment(node)
    if provider.capabilities.serves_many_environments:
        return json.dumps(document)
    return boots.user_data(environment=environment, node=node, enrolment=document)


def _spec(environment: Environment, node: Node, provider: ComputeProvider, user_data: str) -> ServerSpec:
    capabilities = provider.capabilities
    place = "" if node.shared else str(environment.pk)
    return ServerSpec(
        key=ResourceKey(accounts.installation(), place or "shared", _SERVER_KEY),
        location=environment.location or capabilities.locations[0].name,
        size=environment.size or capabilities.sizes[0].name,
        image=capabilities.default_image,
        user_data=user_data,
    )


def _note(environment: Environment, node: Node, fault: ProviderError) -> None:
    """A refusal for good fails the node, and with it the release that waits; anything else is tried again."""
    accounts.note_refusal(environment.account, fault)
    after = getattr(fault, "retry_after_seconds", None)
    attempts.failed(node, code=fault.code, message=str(fault), retry_after_seconds=after)
    if not fault.retryable and fault.retry != "pause":
        with transaction.atomic():
            node.refresh_from_db()
            if NodeState.FAILED in node.EDGES.get(NodeState(node.state), {}):
                transition(node, to=NodeState.FAILED, severity="error", data={"code": fault.code})


def release_node(environment: Environment) -> bool:
    """Take the environment off its node; a machine that serves many goes on serving the others. True when it is off."""
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        node = row.node
        if node is None:
            return True
        if node.shared:
            Environment.objects.filter(pk=row.pk).update(node=None)
            return True
        if node.state == NodeState.DELETED:
            Environment.objects.filter(pk=row.pk).update(node=None)
            return True
        if node.state != NodeState.DELETING:
            transition(node, to=NodeState.DELETING)
    return _give_back(row, node)


def _give_back(environment: Environment, node: Node) -> bool:
    if not attempts.claim(node):
        return False
    try:
        gone = not node.server_id or _deleted(accounts.provider_of(environment.account), node.server_id)
    except ProviderError as fault:
        accounts.note_refusal(environment.account, fault)
        attempts.failed(node, code=fault.code, message=str(fault))
        return False
    attempts.succeeded(node)
    if gone:
        with transaction.atomic():
            transition(node, to=NodeState.DELETED)
            Environment.objects.filter(pk=environment.pk, node=node).update(node=None)
    return gone


def _deleted(provider: ComputeProvider, server_id: str) -> bool:
    """Asked again until the provider has nothing left: its word that deletion began is not the end of it."""
    return provider.delete_server(server_id) is None


def silent_since(node: Node) -> str | None:
    return node.last_seen_at.isoformat() if node.last_seen_at and node.last_seen_at < timezone.now() else None

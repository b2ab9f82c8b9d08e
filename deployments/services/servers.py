"""The server behind a node: asked for, followed until it runs, found again by its key, given back. One exchange a call.

The node's row drives it all. What is under way lies in `operation`: `create` (wait until it runs), `discard` (a server
that never came to run goes, so that another one can be made) and `delete`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from providers import idempotent
from providers.errors import (
    AccountPaused,
    AuthFailed,
    CapacityUnavailable,
    NotFound,
    OperationFailed,
    OutcomeUnknown,
    ProviderError,
    RateLimited,
    Unavailable,
)
from providers.options import BOOT_DEADLINE_SECONDS
from providers.ports import ComputeProvider, Operation, ResourceKey, Server, ServerSpec
from timeline import events
from timeline.transitions import transition

from ..domain.states import NodeState
from ..errors import DeploymentError
from ..models import Environment, Node
from . import accounts, attempts, boots, nodes
from .attempts import Lease

SERVER_KEY = "node"
LOST, BOOT_TIMEOUT = "node.lost", "node.boot_timeout"
MOST_SERVERS = 3
"""How many servers are made for one node, if each fails to come up; then the node has failed."""
CREATE, DISCARD, DELETE = "create", "discard", "delete"
_PAUSES = {CapacityUnavailable.code: attempts.CAPACITY_PAUSE_SECONDS}
Step = Callable[[Lease, Environment, Node, ComputeProvider], None]
# The row's own word counts from here on, not what became of its server's making.
_SPEAKS_FOR_ITSELF = frozenset({NodeState.BOOTING, NodeState.ENROLLED, NodeState.READY, NodeState.UNREACHABLE})
MAY_HAVE_SERVER = frozenset({NodeState.CREATING, *_SPEAKS_FOR_ITSELF})
COULD_NOT_ASK = (Unavailable, RateLimited, AuthFailed, AccountPaused)
"""Of an operation nothing is learnt by these: it goes on, and is asked for again."""


class ServerUnlisted(ProviderError):
    """The node speaks to us, and its server cannot be found by its key."""

    code = "provider.server_unlisted"
    retry = Unavailable.retry
    cure = "It is looked for again by itself; if it stays away, look at the labels of the servers at the provider."


def needs_exchange(node: Node) -> bool:
    """Whether something has to be asked of the provider for this node."""
    if node.state in (NodeState.REQUESTED, NodeState.CREATING, NodeState.DELETING):
        return True
    return node.state in _SPEAKS_FOR_ITSELF and (node.operation is not None or not node.server_id)


def is_refused(node: Node) -> bool:
    """Whether the provider has made nothing for this node, and is to be asked again for a release that waits alone."""
    if node.state == NodeState.REQUESTED:
        return True
    refused = node.fault is not None and node.fault["code"] != OutcomeUnknown.code
    return node.state == NodeState.CREATING and refused and node.operation is None and not node.server_id


def drive(environment: Environment, node: Node) -> Node:
    """One bounded exchange towards a server that runs, if the row needs one and nobody is at it; the row as it is."""
    lease = attempts.claim(node, environment_id=environment.pk) if _is_to_run(node) else None
    if lease is not None:
        _exchange(lease, environment, _towards_running)
    return node


def _is_to_run(node: Node) -> bool:
    return needs_exchange(node) and node.state != NodeState.DELETING


def give_back(environment: Environment, node: Node) -> bool:
    """One bounded exchange towards a node (in `deleting`) whose server is gone; True when the row says `deleted`."""
    if node.servers_asked == 0:
        # The provider never heard of it, whatever state its account is in.
        _is_gone(node)
    elif lease := attempts.claim(node, environment_id=environment.pk):
        _exchange(lease, environment, _towards_gone)
    return node.state == NodeState.DELETED


def _exchange(lease: Lease, environment: Environment, step: Step) -> None:
    node: Node = lease.row
    try:
        step(lease, environment, node, accounts.provider_of(node.account))
    except (ProviderError, DeploymentError) as fault:
        _note(lease, node, fault)


def _note(lease: Lease, node: Node, fault: ProviderError | DeploymentError) -> None:
    """A refusal for good fails the node, and with it the release that waits; anything else is tried again."""
    accounts.note_refusal(node.account, fault)
    changes: dict[str, Any] = {}
    left_behind = getattr(fault, "resource_id", None)
    if left_behind and not node.server_id and node.state == NodeState.CREATING:
        # It was made, and could not be booted: it is ours to resume or to give back.
        changes["server_id"] = left_behind
    with transaction.atomic():
        attempts.failed(lease, fault, **changes)
        if node.fault and node.fault["is_final"] and node.state in (NodeState.REQUESTED, NodeState.CREATING):
            transition(node, to=NodeState.FAILED, severity="error", data=_named(node.fault))


def _named(fault: dict[str, Any]) -> dict[str, Any]:
    return {"code": fault["code"], "summary": fault["message"]}


# Towards a server that runs


def _towards_running(lease: Lease, environment: Environment, node: Node, provider: ComputeProvider) -> None:
    kind = node.operation["kind"] if node.operation else None
    if kind == CREATE:
        _follow_creation(lease, node, provider)
    elif kind == DISCARD:
        _discard(lease, node, provider)
    elif node.state in _SPEAKS_FOR_ITSELF:
        _find(lease, environment, node, provider)
    elif node.state in (NodeState.REQUESTED, NodeState.CREATING):
        _create(lease, environment, node, provider)
    else:
        attempts.give_back(lease)


def _create(lease: Lease, environment: Environment, node: Node, provider: ComputeProvider) -> None:
    """Intent first: the row says `creating` and holds the token's hash before the provider hears of the server."""
    if not _is_settled(lease, environment, node, provider):
        return
    with transaction.atomic():
        if node.state == NodeState.REQUESTED and not transition(node, to=NodeState.CREATING):
            attempts.give_back(lease)
            return
        user_data = _user_data(environment, node, provider)
        Node.objects.filter(pk=node.pk, servers_asked=0).update(servers_asked=1)
    outcome = provider.create_server(_spec(environment, node, provider, user_data))
    with transaction.atomic():
        _remember(node, outcome.value)
        attempts.record(lease, kind=CREATE, pending=outcome.pending)
        if outcome.surplus:
            _tell(node, "node:surplus", "warning", {"servers": list(outcome.surplus)})
        if outcome.pending is None:
            _is_running(node)


def _is_settled(lease: Lease, environment: Environment, node: Node, provider: ComputeProvider) -> bool:
    """Whether the provider can be asked to create. After a worker that died, its last write may be done and not be
    listed yet: what is found by key is taken up at once, and what is not is waited for."""
    settles_at = lease.settles_at
    if settles_at is None or settles_at <= timezone.now() or node.server_id:
        return True
    if idempotent.find_servers(provider, key_of(environment, node)):
        return True
    attempts.wait(lease, settles_at)
    return False


def _user_data(environment: Environment, node: Node, provider: ComputeProvider) -> str:
    """In the caller's transaction. A machine that serves many has an agent already, which waits for the document."""
    document = nodes.enrolment(node)
    if provider.capabilities.serves_many_environments:
        return json.dumps(document)
    return boots.user_data(environment=environment, node=node, enrolment=document)


def key_of(environment: Environment, node: Node) -> ResourceKey:
    """The same for all nodes that an environment ever has: the provider can hold one of them at a time."""
    return ResourceKey(accounts.installation(), "shared" if node.shared else str(environment.pk), SERVER_KEY)


def _spec(environment: Environment, node: Node, provider: ComputeProvider, user_data: str) -> ServerSpec:
    capabilities = provider.capabilities
    return ServerSpec(
        key=key_of(environment, node),
        location=environment.location or capabilities.locations[0].name,
        size=environment.size or capabilities.sizes[0].name,
        image=capabilities.default_image,
        user_data=user_data,
    )


def _remember(node: Node, server: Server) -> None:
    """Whoever holds the lease by now: an id that is known is never forgotten."""
    owned = sorted({*node.owned_volume_ids, *server.owned_volume_ids})
    Node.objects.filter(pk=node.pk).update(server_id=server.id, owned_volume_ids=owned)


def _is_running(node: Node) -> None:
    """Zero rows: the node was quicker than the provider's answer and has enrolled already."""
    if node.state != NodeState.CREATING:
        return
    seconds = accounts.seconds_of(node.account, "boot_deadline_seconds", BOOT_DEADLINE_SECONDS)
    deadline = timezone.now() + timedelta(seconds=seconds)
    if transition(node, to=NodeState.BOOTING, boot_deadline_at=deadline, data={"server": node.server_id}):
        # The token lives as long as its machine may take.
        Node.objects.filter(pk=node.pk, enrolment_expires_at__lt=deadline).update(enrolment_expires_at=deadline)


def _follow_creation(lease: Lease, node: Node, provider: ComputeProvider) -> None:
    try:
        pending = provider.poll(_operation(node))
    except COULD_NOT_ASK:
        raise
    except ProviderError as fault:
        _creation_failed(lease, node, provider, fault)
        return
    with transaction.atomic():
        attempts.record(lease, kind=CREATE, pending=pending)
        if pending is None:
            _is_running(node)


def _creation_failed(lease: Lease, node: Node, provider: ComputeProvider, fault: ProviderError) -> None:
    """It was made and will not run. It goes before another one is made; one that a person took away is lost."""
    if node.state != NodeState.CREATING:
        _tell(node, "node:creation_failed", "warning", {"code": fault.code, "summary": str(fault)})
        attempts.record(lease)
        return
    try:
        provider.get_server(node.server_id)
    except NotFound:
        with transaction.atomic():
            attempts.record(lease)
            lose(node)
        return
    with transaction.atomic():
        _tell(node, "node:creation_failed", "warning", {"code": fault.code, "summary": str(fault)})
        attempts.failed(lease, fault, operation={"kind": DISCARD, "token": "", "overdue": ""}, poll_after=None)
        # It goes at once; what was said of it stays, and decides what happens when it is gone.
        Node.objects.filter(pk=node.pk).update(retry_at=None)


def _discard(lease: Lease, node: Node, provider: ComputeProvider) -> None:
    """The failure that began this is kept in `fault` until the server is gone, and decides what comes then."""
    pending = _deletion(node, provider)
    if pending is not None:
        attempts.record(lease, kind=DISCARD, pending=pending, failures=node.failures, fault=node.fault)
        return
    fault = dict(node.fault or attempts.fault_of(OperationFailed.code, "The server never came to run."))
    again = not fault["is_final"] or (fault["code"] == OperationFailed.code and node.servers_asked < MOST_SERVERS)
    pause = attempts.doubled(_PAUSES.get(fault["code"], attempts.FIRST_PAUSE_SECONDS), node.failures)
    fault["retry_at"] = (timezone.now() + timedelta(seconds=pause)).isoformat() if again else None
    gone: dict[str, Any] = {"server_id": "", "owned_volume_ids": [], "servers_asked": node.servers_asked + 1}
    with transaction.atomic():
        attempts.record(lease, after_seconds=pause, failures=node.failures, fault=fault, **gone)
        if not again:
            transition(node, to=NodeState.FAILED, severity="error", data=_named(fault))


def _find(lease: Lease, environment: Environment, node: Node, provider: ComputeProvider) -> None:
    """The node was faster than the provider's answer, whose reader died: its server is known by its key alone."""
    found = idempotent.find_servers(provider, key_of(environment, node))
    if not found:
        raise ServerUnlisted(f"No server of node {node.pk} is listed, and the node has spoken")
    with transaction.atomic():
        _remember(node, found[0])
        attempts.record(lease)


def _operation(node: Node) -> Operation:
    operation = node.operation or {}
    return Operation(operation["token"], 0.0, operation.get("overdue", ""))


# Towards none


def _towards_gone(lease: Lease, environment: Environment, node: Node, provider: ComputeProvider) -> None:
    kind = node.operation["kind"] if node.operation else None
    if not node.server_id:
        _find_to_delete(lease, environment, node, provider)
        return
    if kind not in (DELETE, DISCARD):
        # Whatever was under way: it ends with the server.
        node.operation = None
    pending = _deletion(node, provider)
    with transaction.atomic():
        attempts.record(lease, kind=DELETE, pending=pending)
        if pending is None:
            _is_gone(node)


def _deletion(node: Node, provider: ComputeProvider) -> Operation | None:
    """Begin, or ask how far it is. None: nothing is left, what it owned included."""
    if node.operation and node.operation["token"]:
        try:
            return provider.poll(_operation(node))
        except COULD_NOT_ASK:
            raise
        except ProviderError:
            # The deletion failed: it is begun anew, which says why it cannot be.
            pass
    return provider.delete_server(node.server_id, owned_volume_ids=tuple(node.owned_volume_ids))


def _find_to_delete(lease: Lease, environment: Environment, node: Node, provider: ComputeProvider) -> None:
    """No id is known. There is a server if an answer was lost; it may be listed late, so the window is waited for."""
    found = idempotent.find_servers(provider, key_of(environment, node))
    with transaction.atomic():
        if found:
            _remember(node, found[0])
            attempts.record(lease)
        elif lease.settles_at and lease.settles_at > timezone.now():
            attempts.wait(lease, lease.settles_at)
        else:
            attempts.record(lease)
            _is_gone(node)


def _is_gone(node: Node) -> None:
    with transaction.atomic():
        if node.state == NodeState.DELETING:
            transition(node, to=NodeState.DELETED)


# What becomes of nodes otherwise


def lose(node: Node) -> bool:
    """The provider has its server no more, and we did not give it back: said, and nothing replaces it by itself.

    In the caller's transaction.
    """
    message = (
        f"Server {node.server_id} of this node no longer exists at {node.account}. An operator decides: "
        "`manage.py environment replace-node` makes another one, stop or retire give it up."
    )
    told = {"code": LOST, "summary": message, "server": node.server_id}
    changes: dict[str, Any] = {"fault": attempts.fault_of(LOST, message), "operation": None, "poll_after": None}
    return transition(node, to=NodeState.LOST, severity="error", data=told, **changes)


def time_out(node: Node) -> bool:
    """Fail a node that has not enrolled by its boot deadline. Its server stays, to be looked at."""
    if node.state != NodeState.BOOTING or not node.boot_deadline_at or node.boot_deadline_at > timezone.now():
        return False
    message = (
        f"The machine has not enrolled by {node.boot_deadline_at.isoformat(timespec='seconds')}. {boots.summary(node)} "
        f"Server {node.server_id} is kept to be looked at, until the next release, stop or retire."
    )
    told = {"code": BOOT_TIMEOUT, "summary": message, "boot": node.boot}
    with transaction.atomic():
        # Zero rows: it has enrolled in the last moment.
        return transition(
            node, to=NodeState.FAILED, severity="error", data=told, fault=attempts.fault_of(BOOT_TIMEOUT, message)
        )


def _tell(node: Node, kind: str, severity: str, data: dict[str, Any]) -> None:
    events.record(**node.event_place(), subject=("node", node.pk), kind=kind, severity=severity, data=data)

"""Nodes: how one becomes known (a one-time token and keys of its own), and how each of its requests is proven."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from nodeagent.wire import base64text, requests
from nodeagent.wire import enrol as enrolling
from nodeagent.wire.enrol import EnrolAnswer, EnrolRequest, Placement
from nodeagent.wire.errors import RequestError
from registry import backends
from timeline import events
from timeline.transitions import transition

from .. import nudges, signing
from ..domain.states import NodeState
from ..errors import DeploymentError, NotFound
from ..models import Environment, Node, NodeNonce
from ..selectors import policies

ENROLMENT_TTL_SECONDS = 1800
# How far a node's clock may be off, both ways; a nonce is remembered for longer than that (housekeeping).
MAX_SKEW_SECONDS = 60
_AWAITED = frozenset({NodeState.CREATING, NodeState.BOOTING})
_GONE = frozenset({NodeState.REQUESTED, NodeState.FAILED, NodeState.DELETING, NodeState.DELETED})
# Verified against where no node has the name, so that an unknown name takes as long as a wrong signature.
_NOBODY = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")  # RFC 8032, test 1


class NodeRefused(DeploymentError):
    """A request that proves no node that may speak. The caller learns no more than that."""

    code: ClassVar[str] = "node.refused"
    status: ClassVar[int] = 401


class NodeUnproven(NodeRefused):
    """Unknown name, or a signature that is not that node's: not told apart."""

    code = "request.signature"

    def __str__(self) -> str:
        return (
            "No enrolled node signed this request. A node signs with the key that it enrolled with; else enrol it anew."
        )


class NonceUsed(NodeRefused):
    """The very same request was seen before."""

    code = "request.replayed"

    def __str__(self) -> str:
        return "The nonce was used before. Each request takes a new one; a retry is signed anew."


class OldGeneration(NodeRefused):
    """Signed under an enrolment that a later one has replaced."""

    code = "node.generation"

    def __str__(self) -> str:
        return "This node was enrolled again since, under a new generation. Only the newest enrolment counts."


class NodeQuarantined(NodeRefused):
    """Somebody tried to enrol as this node with other keys."""

    code, status = "node.quarantined", 403

    def __str__(self) -> str:
        return (
            "Its enrolment token was used a second time with other keys, so nothing of this node is believed. "
            "An operator replaces it with `manage.py environment replace-node`."
        )


class NodeGone(NodeRefused):
    """The row is on its way out, or was never made into a node."""

    code, status = "node.gone", 403

    def __init__(self, state: str):
        self.node_state = state

    def __str__(self) -> str:
        return f"This node is {self.node_state}; nothing is taken from it any more."


class EnrolmentRefused(NodeRefused):
    """The token is unknown, has expired, or belongs to a node that is not awaited."""

    code = "enrol.token"

    def __str__(self) -> str:
        return "The enrolment token is unknown or has expired. Tokens come from the control plane, with a new node."


class EnrolledWithOtherKeys(NodeRefused):
    """The token was used before, with other keys: two machines claim to be one node."""

    code, status = "enrol.keys", 403

    def __str__(self) -> str:
        return "The token was used before with other keys. The node is quarantined until an operator has looked."


# Enrolling


def enrolment(node: Node) -> dict[str, Any]:
    """What the node's machine is given: `{control_url, token, keyset, ca}`. In the caller's transaction.

    Asked again before the token is used, the answer is the same with a new expiry: whoever provisions may die between
    the intent and the provider's answer, and the machine that was made then holds the first one. So the 32 bytes are
    not drawn but derived, from the key-encryption key and the row's own random id; the row keeps their hash alone.
    Raises signing.KeysMissing.
    """
    row = Node.objects.select_for_update(of=("self",)).get(pk=node.pk)
    token = _token(row)
    node.enrolment_sha256 = hashlib.sha256(token.encode()).digest()
    node.enrolment_expires_at = timezone.now() + timedelta(seconds=ENROLMENT_TTL_SECONDS)
    Node.objects.filter(pk=node.pk).update(
        enrolment_sha256=node.enrolment_sha256, enrolment_expires_at=node.enrolment_expires_at
    )
    return {
        "control_url": settings.PUBLIC_URL,
        "token": token,
        "keyset": base64text.to_text(signing.keyset_envelope()),
        # Plain HTTP on loopback, or a certificate that the machine's own authorities vouch for.
        "ca": None,
    }


def enrol(request: EnrolRequest) -> EnrolAnswer:
    """Bind keys to the node that the token was made for. Same token and same keys again: the same answer.

    A token that is used already and comes with other keys quarantines the node, with an alarm: one of two machines is
    not what it says, and we cannot know which. Raises RequestError `enrol.proof`, EnrolmentRefused,
    EnrolledWithOtherKeys, NodeQuarantined, NodeGone.
    """
    enrolling.verify_proof(request)
    with transaction.atomic():
        node = _of_token(request.token)
        refusal = _bind(node, request)
        if refusal is None:
            return _answer(node)
    # Outside: what _bind recorded is committed.
    raise refusal


def _token(node: Node) -> str:
    """Another one for each binding: it covers the generation and the keys that it would replace."""
    so_far = f"{node.pk}:{node.generation}:".encode() + bytes(node.ed25519_public or b"")
    drawn = hmac.new(settings.KEK, b"sam-enrolment-v1\n" + so_far, hashlib.sha256).digest()
    return base64.urlsafe_b64encode(drawn).rstrip(b"=").decode()


def _of_token(token: str) -> Node:
    """The node, locked. Looked up by hash: what the comparison's time could tell is of no use to a guesser."""
    digest = hashlib.sha256(token.encode()).digest()
    node = Node.objects.select_for_update(of=("self",)).filter(enrolment_sha256=digest).first()
    if node is None:
        raise EnrolmentRefused
    return node


def _bind(node: Node, request: EnrolRequest) -> NodeRefused | None:
    """The row's lock makes two enrolments at once come here one after the other."""
    ed25519, x25519 = base64text.to_bytes(request.ed25519_public), base64text.to_bytes(request.x25519_public)
    if node.quarantined_at is not None:
        return NodeQuarantined()
    if node.state in _GONE:
        return NodeGone(node.state)
    if node.enrolment_expires_at is None:
        if _same(node.ed25519_public, ed25519) and _same(node.x25519_public, x25519):
            return None
        _quarantine(node)
        return EnrolledWithOtherKeys()
    if node.enrolment_expires_at < timezone.now():
        return EnrolmentRefused()
    _take_in(node, request, ed25519, x25519)
    return None


def _same(held: bytes | memoryview | None, given: bytes) -> bool:
    return hmac.compare_digest(bytes(held or b""), given)


def _take_in(node: Node, request: EnrolRequest, ed25519: bytes, x25519: bytes) -> None:
    """The token is used from here on: its hash stays, for the same answer to the same keys, and its expiry goes."""
    changes: dict[str, Any] = {
        "ed25519_public": ed25519,
        "x25519_public": x25519,
        "enrolment_expires_at": None,
        "generation": node.generation + _replaces_keys(node, ed25519),
        "boot_id": request.boot_id,
        "counter": 0,
        "agent_version": request.agent_version[:32],
        "last_seen_at": timezone.now(),
    }
    told = {"keyid": hashlib.sha256(ed25519).hexdigest()[:16], "agent_version": request.agent_version[:32]}
    if node.state in _AWAITED:
        transition(node, to=NodeState.ENROLLED, by={"node": str(node.pk)}, data=told, **changes)
    else:
        Node.objects.filter(pk=node.pk).update(**changes)
        for name, value in changes.items():
            setattr(node, name, value)
        _record(node, "node:enrolled_again", "warning", told)
    for environment_id in _environments(node).values_list("pk", flat=True):
        nudges.advance(environment_id)


def _replaces_keys(node: Node, ed25519: bytes) -> bool:
    return node.ed25519_public is not None and not _same(node.ed25519_public, ed25519)


def _quarantine(node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(quarantined_at=timezone.now())
    _record(
        node, "node:quarantined", "alarm", {"code": EnrolledWithOtherKeys.code, "summary": str(EnrolledWithOtherKeys())}
    )


def _answer(node: Node) -> EnrolAnswer:
    environments = list(_environments(node).select_related("project"))
    return EnrolAnswer(
        node_id=str(node.pk),
        node_generation=node.generation,
        registry_hosts=_registry_hosts(environments),
        server_time=int(timezone.now().timestamp()),
        environments=tuple(Placement(str(each.pk), each.generation) for each in environments),
    )


def _registry_hosts(environments: list[Environment]) -> tuple[str, ...]:
    """Ours, and those that the policies of the environments allow images from (HOST/PATH or HOST/PATH/*)."""
    allowed = {image for each in environments for image in policies.of(each).allowed_images}
    return tuple(sorted({backends.configured().host, *(image.partition("/")[0] for image in allowed)}))


def _environments(node: Node) -> Any:
    return Environment.objects.filter(node=node).order_by("pk")


# Proving requests


def authenticate(*, method: str, path_with_query: str, headers: Mapping[str, str], body: bytes) -> Node:
    """The node that signed this request, now, once. Who speaks is known from the signature alone.

    Raises RequestError `request.headers`, `request.time`; NodeUnproven, OldGeneration, NodeQuarantined, NodeGone,
    NonceUsed.
    """
    claim = requests.claim(headers)
    node = _named(claim.node_id)
    public = bytes(node.ed25519_public) if node and node.ed25519_public else _NOBODY
    try:
        requests.verify_request(
            public,
            headers=headers,
            method=method,
            path_with_query=path_with_query,
            body=body,
            now=int(timezone.now().timestamp()),
            max_skew_seconds=MAX_SKEW_SECONDS,
        )
    except RequestError as fault:
        if fault.code == NodeUnproven.code:
            raise NodeUnproven from fault
        raise
    if node is None or public is _NOBODY:
        raise NodeUnproven
    if claim.generation != node.generation:
        raise OldGeneration
    if node.quarantined_at is not None:
        raise NodeQuarantined
    if node.state in _GONE:
        raise NodeGone(node.state)
    _use_nonce(node, claim.nonce)
    return node


def placed(node: Node, environment_id: UUID) -> Environment:
    """The environment, if it is placed on this node now. Raises NotFound: what is another's looks like nothing."""
    environment = Environment.objects.filter(pk=environment_id, node=node).first()
    if environment is None:
        raise NotFound("environment", environment_id)
    return environment


def _named(text: str) -> Node | None:
    try:
        return Node.objects.filter(pk=UUID(text)).first()
    except ValueError:
        return None


def _use_nonce(node: Node, nonce: str) -> None:
    """The unique constraint is the referee between two that come at once."""
    try:
        with transaction.atomic():
            NodeNonce.objects.create(node=node, nonce=nonce, at=timezone.now())
    except IntegrityError as fault:
        raise NonceUsed from fault


def _record(node: Node, kind: str, severity: str, data: Mapping[str, Any]) -> None:
    events.record(**node.event_place(), subject=("node", node.pk), kind=kind, severity=severity, data=data)

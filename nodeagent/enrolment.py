"""Enrolment: from a one-time token in `enrolment.json` to an identity of the node's own."""

from __future__ import annotations

import logging
from pathlib import Path

import nacl.public
import nacl.signing

from . import __version__
from .client import Connect
from .records import Enrolment, NodeRecord
from .store import Store
from .wire import base64text, enrol, keyset
from .wire.enrol import EnrolRequest
from .wire.errors import KeysetError

log = logging.getLogger(__name__)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """This boot of the machine, as the kernel names it."""
    return _BOOT_ID.read_text().strip()


def enrol_if_asked(store: Store, connect: Connect) -> NodeRecord | None:
    """Enrol with `enrolment.json` if it is there, and answer who this node is; None if it is nobody yet.

    The keys are on disk before the token is used, and the file goes only when the identity is on disk: a crash anywhere
    between leads to the same call with the same keys, which has the same answer. Raises ClientError, KeysetError,
    StoreError.
    """
    ticket = store.enrolment()
    if ticket is None:
        return store.node()
    _pin_keyset(store, ticket)
    signing_key, box_key = store.make_keys()
    answer = connect(ticket.control_url, ticket.ca, None).enrol(_request(ticket, signing_key, box_key))
    node = NodeRecord(
        node_id=answer.node_id,
        node_generation=answer.node_generation,
        control_url=ticket.control_url.rstrip("/"),
        registry_hosts=answer.registry_hosts,
        ca=ticket.ca,
    )
    for placement in answer.environments:
        store.place(placement.environment_id, placement.generation)
    store.write_node(node)
    store.forget_enrolment()
    log.info("Enrolled as node %s, generation %d", node.node_id, node.node_generation)
    return node


def _request(ticket: Enrolment, signing_key: nacl.signing.SigningKey, box_key: nacl.public.PrivateKey) -> EnrolRequest:
    x25519_public = bytes(box_key.public_key)
    return EnrolRequest(
        token=ticket.token,
        ed25519_public=base64text.to_text(bytes(signing_key.verify_key)),
        x25519_public=base64text.to_text(x25519_public),
        boot_id=boot_id(),
        agent_version=__version__,
        proof=enrol.prove(signing_key, ticket.token, x25519_public),
    )


def _pin_keyset(store: Store, ticket: Enrolment) -> None:
    """Trust the pinned keyset, if none is held: a key that is trusted yields only to one that it signed."""
    envelope = base64text.to_bytes(ticket.keyset)
    pinned = keyset.first(envelope)
    if not store.has_keyset():
        store.adopt_keyset(pinned, envelope)
        return
    held = store.keyset()
    if pinned.version == held.version and pinned != held:
        raise KeysetError(
            "keyset.other", "This node trusts another keyset of that version; replace the node", "/version"
        )

"""Receipts: what the engine found becomes the node's signed word, small enough for an envelope."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import nacl.signing

from .ports import Outcome
from .wire import envelope
from .wire.decode import encode
from .wire.envelope import PAYLOAD_RECEIPT
from .wire.errors import EnvelopeError
from .wire.receipt import MAX_LOG_TAIL, Receipt, ServiceEvidence
from .wire.statement import Statement

_SHORTER = (MAX_LOG_TAIL, 2048, 512, 0)
"""Characters of each log tail that are tried until the envelope is within its bound."""
MAX_SUMMARY = 2000


def sign(
    outcome: Outcome, statement: Statement, key: nacl.signing.SigningKey, *, redact: Callable[[str], str]
) -> bytes:
    """The envelope of the receipt for `outcome` of the release that `statement` is about. Texts pass `redact` first."""
    for length in _SHORTER:
        receipt = _receipt(outcome, statement, _evidence(outcome.services, length, redact), redact)
        try:
            return envelope.sign(PAYLOAD_RECEIPT, encode(receipt), key)
        except EnvelopeError:
            if length == 0:
                raise
    raise AssertionError("unreachable: the last length either signs or raises")


def _receipt(
    outcome: Outcome, statement: Statement, services: Mapping[str, ServiceEvidence], redact: Callable[[str], str]
) -> Receipt:
    return Receipt(
        v=1,
        node_id=statement.node_id,
        environment_id=statement.environment_id,
        generation=statement.generation,
        seq=statement.seq,
        release_digest=statement.release_digest,
        outcome=outcome.outcome,
        code=outcome.code,
        summary=redact(outcome.summary)[:MAX_SUMMARY],
        serving_seq=outcome.serving_seq,
        services=services,
        routes_served=tuple(outcome.routes_served),
        started_at=outcome.started_at,
        finished_at=outcome.finished_at,
        timings_ms=outcome.timings_ms,
    )


def _evidence(
    services: Mapping[str, ServiceEvidence], length: int, redact: Callable[[str], str]
) -> dict[str, ServiceEvidence]:
    return {
        name: dataclasses.replace(evidence, log_tail=redact(evidence.log_tail)[-length:] if length else "")
        for name, evidence in services.items()
    }

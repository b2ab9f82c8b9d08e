"""What a node's receipt comes to: pure, from its words and from what was ordered."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from nodeagent.wire.receipt import Receipt, ServiceEvidence
from nodeagent.wire.redaction import Redactor

from ..domain.manifest import Manifest, Service
from . import storable

INCONSISTENT = "receipt.inconsistent"
LIVE = "live"
_RAN_BEFORE = ("completed", "missing")
_UNNAMED: Mapping[str, str] = {"failed": "apply.failed", "cancelled": "apply.cancelled"}


def contradiction(receipt: Receipt, content: Manifest, *, unchanged: Collection[str] = ()) -> str | None:
    """Why this receipt of `live` does not prove what it says, in a sentence; None if it does.

    It does if each service of the manifest, and no other, was observed as its definition asks for, at exactly the
    digest of the manifest, and this sequence is what serves. `unchanged` are the services that an earlier release has
    made: a job among them has run then, and its container may be gone.
    """
    if receipt.serving_seq != receipt.seq:
        return f"It says that sequence {receipt.serving_seq} serves afterwards, and not {receipt.seq}"
    if receipt.services.keys() != content.services.keys():
        odd = sorted(receipt.services.keys() ^ content.services.keys())
        return f"Its services are not those of the manifest: {', '.join(odd)}"
    for name, seen in sorted(receipt.services.items()):
        service = content.services[name]
        if service.job and name in unchanged and (seen.meaning, seen.state) == _RAN_BEFORE:
            continue
        problem = _unlike(seen, service) or _unlike_digest(seen, service)
        if problem is not None:
            return f"Service {name} {problem}"
    return None


def _unlike(seen: ServiceEvidence, service: Service) -> str | None:
    """What was seen of it, against what well means for this service."""
    well = _well(service)
    if seen.meaning not in well:
        return f"was observed as {storable.text(seen.meaning) or 'nothing'}, and well means {' or '.join(well)}"
    state, healths = well[seen.meaning]
    if seen.state != state or (healths is not None and seen.health not in healths):
        said = f"{storable.text(seen.state)}, health {storable.text(seen.health)}"
        return f"is called {seen.meaning} and was observed {said}"
    if seen.meaning == "completed" and seen.exit_code != 0:
        return f"is called completed and ended with {seen.exit_code}"
    return None


def _well(service: Service) -> Mapping[str, tuple[str, frozenset[str] | None]]:
    """The node's word for it, and Docker's words that go with it: its state, and its health (None: any)."""
    check = service.healthcheck
    if service.job:
        return {"completed": ("exited", None)}
    if check is not None and check.http is not None:
        # The node asks by itself; what a check of the image's own says is not what the author asked for.
        return {"healthy": ("running", None)}
    if check is not None and check.test is not None and not check.disabled:
        return {"healthy": ("running", frozenset({"healthy"}))}
    # The image may have a check of its own, which only the node can know.
    return {"healthy": ("running", frozenset({"healthy"})), "running-no-check": ("running", frozenset({"none"}))}


def _unlike_digest(seen: ServiceEvidence, service: Service) -> str | None:
    digest = service.image.partition("@")[2]
    if seen.expected_digest != digest:
        return f"was expected at {seen.expected_digest or 'no digest'}, and the manifest says {digest}"
    if seen.observed_digest != digest:
        return f"was observed at {seen.observed_digest or 'no digest'}, and the manifest says {digest}"
    return None


def evidence(receipt: Receipt, *, hidden: Redactor, problem: str | None = None) -> dict[str, Any]:
    """`{code, summary, services}` as it is kept and shown; with a problem, that is what is told.

    The node has redacted what its releases hold; `hidden` takes out what the environment holds beyond them.
    """
    said = {name: dataclasses.replace(each, log_tail=hidden(each.log_tail)) for name, each in receipt.services.items()}
    summary = f"The node's receipt of success is contradictory. {problem}." if problem else hidden(receipt.summary)
    return {
        "code": INCONSISTENT if problem else storable.text(receipt.code) or _UNNAMED.get(receipt.outcome, ""),
        "summary": storable.text(summary),
        "services": storable.plain(said),
    }

"""What a node's receipt comes to: pure, from its words and from what was ordered."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from nodeagent.wire.receipt import Receipt, ServiceEvidence
from nodeagent.wire.redaction import Redactor

from ..domain.manifest import Manifest
from . import storable

INCONSISTENT = "receipt.inconsistent"
LIVE = "live"
_UNNAMED: Mapping[str, str] = {"failed": "apply.failed", "cancelled": "apply.cancelled"}
# How a service can be well: what was seen of it, in the node's word for it and in Docker's.
_WELL: Mapping[str, tuple[str, frozenset[str]]] = {
    "healthy": ("running", frozenset({"healthy", "none", ""})),  # "none": the node's own HTTP check, not Docker's
    "running-no-check": ("running", frozenset({"none", ""})),
    "completed": ("exited", frozenset({"none", "", "healthy", "unhealthy", "starting"})),
}


def contradiction(receipt: Receipt, content: Manifest) -> str | None:
    """Why this receipt of `live` does not prove what it says, in a sentence; None if it does.

    It does if each service of the manifest, and no other, was observed running and healthy (or without a check, or
    completed with exit code 0) at exactly the digest of the manifest, and this sequence is what serves.
    """
    if receipt.serving_seq != receipt.seq:
        return f"It says that sequence {receipt.serving_seq} serves afterwards, and not {receipt.seq}"
    if receipt.services.keys() != content.services.keys():
        odd = sorted(receipt.services.keys() ^ content.services.keys())
        return f"Its services are not those of the manifest: {', '.join(odd)}"
    for name, seen in sorted(receipt.services.items()):
        digest = content.services[name].image.partition("@")[2]
        problem = _service_contradiction(seen, digest)
        if problem is not None:
            return f"Service {name} {problem}"
    return None


def _service_contradiction(seen: ServiceEvidence, digest: str) -> str | None:
    if seen.meaning not in _WELL:
        return f"was observed as {storable.text(seen.meaning) or 'nothing'}, which is not healthy"
    state, healths = _WELL[seen.meaning]
    if seen.state != state or seen.health not in healths:
        said = f"{storable.text(seen.state)}, health {storable.text(seen.health)}"
        return f"is called {seen.meaning} and was observed {said}"
    if seen.meaning == "completed" and seen.exit_code != 0:
        return f"is called completed and ended with {seen.exit_code}"
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

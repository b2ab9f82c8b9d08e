"""A release as agents and people see it."""

from __future__ import annotations

from typing import Any

from ..domain import renderer
from ..domain.states import RELEASE_SETTLED
from ..models import Release
from . import manifests


def is_settled(release: Release) -> bool:
    return release.status in RELEASE_SETTLED


def represent(release: Release) -> dict[str, Any]:
    """The REST object of a release. `evidence` is null or {code, summary, services}."""
    return {
        "sequence": release.sequence,
        "status": release.status,
        "manifest_digest": release.manifest_digest,
        "submitted_by": {
            name: release.submitted_by.get(name) for name in ("token", "token_name", "profile", "session", "operator")
        },
        "rollback_of": release.rollback_of,
        "waiting": release.waiting,
        "evidence": release.evidence,
        "serving_sequence": release.serving_after,
        "cancel_requested": release.cancel_requested_at is not None,
        "plan": release.plan,
        "routes": release.routes,
        "timings_ms": release.timings_ms,
        "created_at": release.created_at.isoformat(),
        "offered_at": _moment(release.offered_at),
        "live_at": _moment(release.live_at),
        "settled_at": _moment(release.settled_at),
    }


def compose(release: Release) -> bytes:
    """The Compose file as the node gets it: every reference is a numbered placeholder, so no secret can be in it."""
    changed_in = {name: int(sequence) for name, sequence in release.changed_in.items()}
    return renderer.render(
        manifests.of(release),
        environment_id=str(release.environment_id),
        sequence=release.sequence,
        changed_in=changed_in or None,
    )


def _moment(at: Any) -> str | None:
    return at.isoformat() if at else None

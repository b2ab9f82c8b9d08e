"""Releases: submitted, advanced towards a node, cancelled, rolled back. The node's word is taken by `receipts`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents.principals import Principal
from nodeagent.wire import digests
from providers.errors import AccountPaused, ProviderError
from timeline import events
from timeline.transitions import transition

from .. import nudges, wakeups
from ..domain import compose, manifest, plans
from ..domain.compose import Parsed
from ..domain.manifest import Manifest
from ..domain.states import (
    RELEASE_PENDING,
    RELEASE_SETTLED,
    RELEASE_WITH_NODE,
    EnvironmentState,
    NodeState,
    ReleaseStatus,
)
from ..errors import AlreadySettled, DeploymentError, NeverLive, NotFound, PlanStale
from ..models import Environment, Node, Release
from ..selectors import manifests, policies
from . import admission, gates, obstacles, payloads, placements, release_log, values, volumes
from .obstacles import Obstacle

By = Mapping[str, str]
_NOT_WITH_NODE = frozenset({ReleaseStatus.ACCEPTED, ReleaseStatus.WAITING})


@dataclass(frozen=True, slots=True)
class _Basis:
    """What a plan is made from beside the manifest; when any of it moves, the plan is stale."""

    newest_sequence: int
    live: Release | None
    versions: Mapping[str, int]


# Submitting


def submit(
    *,
    environment: Environment,
    principal: Principal,
    document: bytes,
    media_type: str,
    dry_run: bool = False,
    plan_hash: str | None = None,
) -> Release | plans.Plan:
    """Accept a Compose file (`media_type` "yaml") or a manifest ("json") as the next release, or answer the plan of it.

    All faults are collected before anything is stored: parsing, policy, images, references. Nothing is stored for a dry
    run or a refusal. Raises EnvironmentNotActive, GateClosed, ProfileNotAdmitted, InvalidSubmission, PlanStale, and
    retryable errors of the registry.
    """
    gates.check(environment, principal)
    parsed = manifest.from_json(document) if media_type == "json" else compose.parse(document)
    admitted = admission.admit(environment, parsed, missing_is_fault=not dry_run)
    if dry_run:
        return _plan(environment, admitted.manifest, _basis(environment), admitted.warnings)
    with transaction.atomic():
        row = _locked(environment.pk)
        gates.check(row, principal)
        plan = _plan(row, admitted.manifest, _basis(row), admitted.warnings)
        if plan_hash is not None and plan_hash != plan.plan_hash:
            raise PlanStale
        return accept(
            environment=row,
            manifest_bytes=manifest.canonical(admitted.manifest),
            by=principal.as_by(),
            session_id=principal.session_id,
            plan=plan.as_json(),
        )


def _basis(environment: Environment) -> _Basis:
    newest = environment.releases.order_by("-sequence").values_list("sequence", flat=True).first() or 0
    live = environment.releases.filter(status=ReleaseStatus.LIVE).first()
    return _Basis(newest, live, values.versions(environment))


def _plan(environment: Environment, wanted: Manifest, basis: _Basis, warnings: Any) -> plans.Plan:
    live = basis.live
    return plans.plan(
        old=manifests.of(live) if live else None,
        new=wanted,
        newest_sequence=basis.newest_sequence,
        live_sequence=live.sequence if live else 0,
        old_versions=live.reference_versions if live else {},
        versions=basis.versions,
        existing_volumes=frozenset(environment.volumes.exclude(state="deleted").values_list("name", flat=True)),
        policy=policies.of(environment),
        warnings=tuple(warnings),
    )


def accept(
    *,
    environment: Environment,
    manifest_bytes: bytes,
    by: By,
    session_id: UUID | None = None,
    rollback_of: int | None = None,
    plan: Mapping[str, Any],
) -> Release:
    """Store the next release, in the caller's transaction, which holds the environment's row lock.

    The lock is what makes the numbers gapless: the counter moves with the insert, or not at all. Releases that still
    wait are cancelled by this one.
    """
    environment.last_sequence += 1
    Environment.objects.filter(pk=environment.pk).update(
        last_sequence=environment.last_sequence, retry_at=None, failures=0
    )
    for older in environment.releases.filter(status__in=_NOT_WITH_NODE).select_related("environment"):
        end(older, to=ReleaseStatus.CANCELLED, by=by, data={"because": f"release {environment.last_sequence} is newer"})
    release = Release.objects.create(
        environment=environment,
        sequence=environment.last_sequence,
        manifest=manifest_bytes,
        manifest_digest=digests.sha256_digest(manifest_bytes),
        submitted_by=dict(by),
        rollback_of=rollback_of,
        plan=dict(plan),
    )
    _record(
        release,
        "release:accepted",
        by,
        {"sequence": release.sequence, "digest": release.manifest_digest, "rollback_of": rollback_of},
        session_id,
    )
    release_log.append(
        project_id=environment.project_id,
        body={
            "what": "release.accepted",
            "environment_id": str(environment.pk),
            "sequence": release.sequence,
            "manifest_digest": release.manifest_digest,
            "by": dict(by),
            "policy": list(plan.get("policy", [])),
        },
    )
    nudges.advance(environment.pk)
    return release


# Ending and cancelling


def end(
    release: Release,
    *,
    to: ReleaseStatus,
    by: By | None = None,
    evidence: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
) -> bool:
    """Settle a release in the caller's transaction and wake who waits for it. False: somebody else has settled it."""
    changes: dict[str, Any] = {"settled_at": timezone.now(), "waiting": None}
    if evidence is not None:
        changes["evidence"] = dict(evidence)
    severity = "error" if to in (ReleaseStatus.FAILED, ReleaseStatus.UNKNOWN) else "info"
    more = {
        "sequence": release.sequence,
        **(data or {}),
        **({"code": evidence["code"], "summary": evidence["summary"]} if evidence else {}),
    }
    moved = transition(release, to=to, by=by, data=more, severity=severity, **changes)
    if moved:
        wakeups.notify(f"release:{release.pk}")
        nudges.advance(release.environment_id)
    return moved


def cancel(*, release: Release, by: By, principal: Principal | None = None) -> Release:
    """End a release that is not live yet. What its node has begun is reverted there, and the node's receipt ends it.

    `principal` is the agent that asks: a closed gate is closed for this too. Raises GateClosed, ProfileNotAdmitted,
    AlreadySettled.
    """
    if principal is not None:
        gates.check_admitted(release.environment, principal)
    with transaction.atomic():
        row = Release.objects.select_for_update(of=("self",)).select_related("environment").get(pk=release.pk)
        if row.status in RELEASE_SETTLED:
            raise AlreadySettled(row.sequence, row.status)
        if row.cancel_requested_at is None:
            request_cancel(row, by=by)
    return row


def request_cancel(release: Release, *, by: By) -> None:
    """In the caller's transaction: cancelled at once where no node has it, else asked of the node."""
    if release.status in _NOT_WITH_NODE or (release.status == ReleaseStatus.OFFERED and release.fetched_at is None):
        # The fetch is a conditional UPDATE on the same row: either it came first, or it finds nothing to fetch.
        end(release, to=ReleaseStatus.CANCELLED, by=by)
        return
    release.cancel_requested_at = timezone.now()
    Release.objects.filter(pk=release.pk, cancel_requested_at__isnull=True).update(
        cancel_requested_at=release.cancel_requested_at
    )
    _record(release, "release:cancel_requested", by, {"sequence": release.sequence})
    _wake_node(release.environment)


# Rolling back


def roll_back(*, environment: Environment, principal: Principal, to_sequence: int | None = None) -> Release:
    """A new release from the manifest of an old one, with the variables and secrets of now.

    Raises NotFound, NeverLive, and what `submit` raises.
    """
    gates.check(environment, principal)
    target = _rollback_target(environment, to_sequence)
    admitted = admission.admit(environment, _reread(target), missing_is_fault=True, is_new=False)
    with transaction.atomic():
        row = _locked(environment.pk)
        gates.check(row, principal)
        plan = _plan(row, admitted.manifest, _basis(row), admitted.warnings)
        return accept(
            environment=row,
            manifest_bytes=bytes(target.manifest),
            by=principal.as_by(),
            session_id=principal.session_id,
            rollback_of=target.sequence,
            plan=plan.as_json(),
        )


def _reread(target: Release) -> Parsed:
    """An old manifest through the door of now: a policy that has become stricter since holds for rollbacks too."""
    return manifest.from_json(bytes(target.manifest))


def _rollback_target(environment: Environment, to_sequence: int | None) -> Release:
    """The one named, or the one that was live before the one that is live now."""
    if to_sequence is None:
        live = environment.releases.filter(status=ReleaseStatus.LIVE).values_list("sequence", flat=True).first()
        was_live = environment.releases.filter(was_live=True).order_by("-sequence")
        target = (was_live.filter(sequence__lt=live) if live else was_live).first()
        if target is None:
            raise NeverLive(None)
        return target
    target = environment.releases.filter(sequence=to_sequence).first()
    if target is None:
        raise NotFound("release", to_sequence)
    if not target.was_live:
        raise NeverLive(to_sequence)
    return target


# Advancing


def advance(environment: Environment) -> None:
    """Bring the newest pending release of an environment closer to its node: a bounded exchange per row at most.

    Safe to run twice, late, or by several at once: each move is conditional.
    """
    release = _newest_waiting(environment)
    if release is None:
        _tidy(environment)
        _finish_start(environment)
        return
    declared = {name: spec.size_gb for name, spec in manifests.of(release).volumes.items()}
    try:
        node = _placed(environment, release)
        rows = volumes.ensure(environment.pk, declared, since=release.created_at)
        if node.state not in (NodeState.FAILED, NodeState.LOST, NodeState.DELETING):
            node = placements.drive(environment, node)
            rows = volumes.drive(rows, placements.server_of(node))
    except (DeploymentError, ProviderError) as fault:
        _refused(release, "node", fault)
        return
    obstacle = obstacles.of(environment, release, node, rows, len(declared))
    if obstacle is None:
        _offer(environment, release, node)
    elif obstacle.is_final:
        _fail(release, obstacle.code, obstacle.message, more=obstacle.more)
    else:
        _wait(release, obstacle)


def _placed(environment: Environment, release: Release) -> Node:
    """The node to go on with. One that failed an earlier release goes first; only then is there another one.

    One that is lost stays: what replaces it is an operator's decision.
    """
    node = placements.ensure(environment.pk)
    is_spent = node.state == NodeState.FAILED and node.fault and not obstacles.concerns(node.fault, release)
    if not is_spent and node.state != NodeState.DELETING:
        return node
    if volumes.detach_all(environment) and placements.release_node(environment):
        return placements.ensure(environment.pk)
    return Node.objects.get(pk=node.pk)


def _tidy(environment: Environment) -> None:
    """Nothing waits: what is under way is brought to its end, and what the live release no longer declares detached."""
    placements.settle(environment)
    volumes.settle(environment)
    live = environment.releases.filter(status=ReleaseStatus.LIVE).first()
    if live is not None and not environment.releases.filter(status__in=RELEASE_WITH_NODE).exists():
        node = environment.node
        server_id = placements.server_of(node) if node is not None else ""
        volumes.tidy(environment, declared=set(manifests.of(live).volumes), server_id=server_id)


def let_go_of_lost(environment: Environment) -> None:
    """What is with a node that is gone will never be reported on. The truth of it is that nobody knows."""
    summary = (
        "The server was deleted at the provider while its node was at this release. How far it came, nobody knows."
    )
    give_up_with_node(environment, code="node.lost", summary=summary)


def give_up_with_node(environment: Environment, *, code: str, summary: str) -> None:
    """End as `unknown` what a node has that will not answer any more."""
    with transaction.atomic():
        row = _locked(environment.pk)
        for release in row.releases.filter(status__in=RELEASE_WITH_NODE).select_related("environment"):
            evidence = {"code": code, "summary": summary, "services": {}}
            end(release, to=ReleaseStatus.UNKNOWN, evidence=evidence)


def _newest_waiting(environment: Environment) -> Release | None:
    return (
        environment.releases.filter(status__in=_NOT_WITH_NODE)
        .select_related("environment__project")
        .order_by("-sequence")
        .first()
    )


def _offer(environment: Environment, release: Release, node: Node) -> None:
    """Sign the payload and hand it out, in one transaction: what the node can fetch is what the release says."""
    try:
        with transaction.atomic():
            row = _locked(environment.pk)
            live = row.releases.filter(status=ReleaseStatus.LIVE).first()
            release.refresh_from_db(fields=["status", "waiting"])
            if (
                release.status not in _NOT_WITH_NODE
                or row.node_id != node.pk
                or row.releases.filter(status__in=RELEASE_WITH_NODE).exists()
            ):
                return
            payloads.make(
                environment=row, node=node, sequence=release.sequence, action="apply", release=release, stopped=None
            )
            now = timezone.now()
            more = {"sequence": release.sequence, "node": str(node.pk), "previous": live.sequence if live else 0}
            transition(release, to=ReleaseStatus.OFFERED, data=more, offered_at=now, progressed_at=now, waiting=None)
            wakeups.notify(f"node:{node.pk}", f"release:{release.pk}")
    except DeploymentError as fault:
        _refused(release, "release", fault)


def _refused(release: Release, on: str, fault: DeploymentError | ProviderError) -> None:
    if fault.retryable or isinstance(fault, AccountPaused):
        _wait(release, Obstacle(on, fault.code, str(fault)))
    else:
        _fail(release, fault.code, str(fault))


def _wait(release: Release, obstacle: Obstacle) -> None:
    """Say what the release waits for; told once, and again only when the reason changes."""
    since = (release.waiting or {}).get("since") if (release.waiting or {}).get("code") == obstacle.code else None
    waiting = {
        "on": obstacle.on,
        "code": obstacle.code,
        "message": obstacle.message,
        "since": since or timezone.now().isoformat(),
        "retry_at": obstacle.retry_at,
    }
    with transaction.atomic():
        if release.status == ReleaseStatus.ACCEPTED:
            transition(
                release,
                to=ReleaseStatus.WAITING,
                waiting=waiting,
                data={"sequence": release.sequence, "on": obstacle.on, "code": obstacle.code},
            )
        elif waiting != release.waiting:
            Release.objects.filter(pk=release.pk, status=ReleaseStatus.WAITING).update(waiting=waiting)
        wakeups.notify(f"release:{release.pk}")


def _fail(release: Release, code: str, summary: str, *, more: Mapping[str, Any] | None = None) -> None:
    with transaction.atomic():
        release.refresh_from_db(fields=["status"])
        if release.status in RELEASE_PENDING:
            live = (
                release.environment.releases.filter(status=ReleaseStatus.LIVE)
                .values_list("sequence", flat=True)
                .first()
            )
            Release.objects.filter(pk=release.pk).update(serving_after=live or 0)
            end(
                release,
                to=ReleaseStatus.FAILED,
                evidence={"code": code, "summary": summary, "services": {}, **(more or {})},
            )


def _finish_start(environment: Environment) -> None:
    """A start has ended when the release that it made has settled, whichever way."""
    with transaction.atomic():
        row = _locked(environment.pk)
        if row.state == EnvironmentState.STARTING and not row.releases.filter(status__in=RELEASE_PENDING).exists():
            transition(row, to=EnvironmentState.ACTIVE)


# Deadlines


def overdue(*, limit: int) -> list[UUID]:
    """Releases whose node has missed the deadline, and the grace that its own report of that is given."""
    latest = timezone.now() - timedelta(seconds=settings.APPLY_DEADLINE_SECONDS + settings.APPLY_GRACE_SECONDS)
    return list(
        Release.objects.filter(status__in=RELEASE_WITH_NODE, progressed_at__lt=latest).values_list("pk", flat=True)[
            :limit
        ]
    )


def give_up_on(release_id: UUID) -> None:
    """The node has not answered: the outcome is unknown, truthfully, until its signed receipt says more."""
    with transaction.atomic():
        release = Release.objects.select_for_update(of=("self",)).select_related("environment").get(pk=release_id)
        if release.status in RELEASE_WITH_NODE and release.pk in overdue(limit=1000):
            end(
                release,
                to=ReleaseStatus.UNKNOWN,
                evidence={
                    "code": "node.silent",
                    "summary": "The node has not answered by the deadline. Its own receipt, whenever it comes, says "
                    "what happened; look at the node, or release again.",
                    "services": {},
                },
            )


def _locked(environment_id: UUID) -> Environment:
    return Environment.objects.locked(environment_id)


def _wake_node(environment: Environment) -> None:
    if environment.node_id:
        wakeups.notify(f"node:{environment.node_id}")


def _record(release: Release, kind: str, by: By, data: Mapping[str, Any], session_id: UUID | None = None) -> None:
    events.record(
        **release.event_place(), session_id=session_id, subject=("release", release.pk), kind=kind, by=by, data=data
    )

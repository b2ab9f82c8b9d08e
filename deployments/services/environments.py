"""Environments: made, gated, stopped, started and retired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import IntegrityError, transaction

from agents import projects
from agents.errors import NameTaken
from agents.models import Project
from timeline import events
from timeline.transitions import transition

from .. import nudges
from ..domain.states import RELEASE_WITH_NODE, EnvironmentState, OrderStatus, ReleaseStatus
from ..errors import NotFound, WrongState
from ..models import Environment, Order, Release
from . import accounts, releases

By = Mapping[str, str]


def create(
    *,
    project: Project,
    slug: str,
    gate_open: bool = False,
    account: str = "local",
    location: str = "",
    size: str = "",
    by: By,
) -> Environment:
    """A new environment; its gate is closed unless said. Raises InvalidName and NameTaken."""
    projects.check_slug("environment", slug)
    try:
        with transaction.atomic():
            environment = Environment.objects.create(
                project=project, slug=slug, gate_open=gate_open, account=account, location=location, size=size
            )
            _record(
                environment, "environment:created", by, {"slug": slug, "account": account, "gate": _gate(gate_open)}
            )
    except IntegrityError as fault:
        raise NameTaken("environment", f"{project.slug}/{slug}") from fault
    return environment


def named(path: str) -> Environment:
    """The environment `PROJECT/ENVIRONMENT`. Raises NotFound."""
    project, _, slug = path.partition("/")
    environment = Environment.objects.select_related("project", "node").filter(project__slug=project, slug=slug).first()
    if environment is None:
        raise NotFound("environment", path)
    return environment


def set_gate(*, environment: Environment, is_open: bool, profiles: Sequence[str] | None = None, by: By) -> Environment:
    """Open or close the agent gate; `profiles` limits it to these agent profiles, an empty list lifts that limit.

    Raises NoSuchName for a profile that the project does not have.
    """
    for name in profiles or ():
        projects.profile_named(environment.project, name)
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        row.gate_open = is_open
        if profiles is not None:
            row.admitted_profiles = list(profiles)
        row.save(update_fields=["gate_open", "admitted_profiles"])
        _record(row, f"environment:gate_{_gate(is_open)}", by, {"profiles": row.admitted_profiles})
    return row


def stop(*, environment: Environment, by: By) -> Environment:
    """Take the app down, detach its volumes and give the node back; data, history, secrets and domains stay.

    Safe to call twice. Raises WrongState.
    """
    return _order(environment, action="stop", to=EnvironmentState.STOPPING, by=by)


def retire(*, environment: Environment, by: By) -> Environment:
    """End the environment for good; its volumes stay until an operator deletes them. Safe to call twice."""
    return _order(environment, action="retire", to=EnvironmentState.RETIRING, by=by)


def _order(environment: Environment, *, action: str, to: EnvironmentState, by: By) -> Environment:
    """Write the order with the next sequence of the counter; `advance` carries it out."""
    ended = EnvironmentState.STOPPED if action == "stop" else EnvironmentState.RETIRED
    with transaction.atomic():
        row = _locked(environment)
        if row.state == ended:
            return row
        if row.state == to and not row.orders.filter(action=action, status=OrderStatus.FAILED).exists():
            return row
        if row.state != to:
            if to not in row.EDGES.get(EnvironmentState(row.state), {}):
                raise WrongState(row, row.state, action)
            transition(row, to=to, by=by)
        _close_open_order(row, by)
        _let_go_of_pending(row, action, by)
        row.last_sequence += 1
        row.save(update_fields=["last_sequence"])
        live = row.releases.filter(status=ReleaseStatus.LIVE).values_list("sequence", flat=True).first()
        order = Order.objects.create(
            environment=row,
            sequence=row.last_sequence,
            action=action,
            stopped_sequence=live or _last_stopped(row),
            ordered_by=dict(by),
        )
        events.record(
            **row.event_place(),
            subject=("order", order.pk),
            kind="order:accepted",
            by=by,
            data={"action": action, "sequence": order.sequence},
        )
        nudges.advance(row.pk)
    return row


def _last_stopped(environment: Environment) -> int:
    return environment.orders.values_list("stopped_sequence", flat=True).order_by("-sequence").first() or 0


def _close_open_order(environment: Environment, by: By) -> None:
    """A retire takes over from a stop that is still under way: the node is told the newest order only."""
    for order in environment.orders.filter(status=OrderStatus.ACCEPTED):
        transition(order, to=OrderStatus.DONE, by=by, data={"because": "a later order takes over"})
    for order in environment.orders.filter(status=OrderStatus.OFFERED):
        transition(order, to=OrderStatus.FAILED, by=by, data={"because": "a later order takes over"})


def _let_go_of_pending(environment: Environment, action: str, by: By) -> None:
    """What is with the node is cancelled there; what waits goes on waiting through a stop, and ends with a retire."""
    for release in environment.releases.filter(status__in=RELEASE_WITH_NODE):
        releases.request_cancel(release, by=by)
    if action == "retire":
        for release in environment.releases.filter(status__in=[ReleaseStatus.ACCEPTED, ReleaseStatus.WAITING]):
            releases.end(release, to=ReleaseStatus.CANCELLED, by=by, data={"because": "the environment is retired"})


def start(*, environment: Environment, by: By) -> Environment:
    """Bring a stopped environment back: a new release from the manifest that was live. Raises WrongState."""
    with transaction.atomic():
        row = _locked(environment)
        if row.state in (EnvironmentState.ACTIVE, EnvironmentState.STARTING):
            return row
        if row.state != EnvironmentState.STOPPED:
            raise WrongState(row, row.state, "start")
        transition(row, to=EnvironmentState.STARTING, by=by)
        waiting = row.releases.filter(status__in=[ReleaseStatus.ACCEPTED, ReleaseStatus.WAITING]).first()
        stopped = Release.objects.filter(environment=row, sequence=_last_stopped(row)).first()
        again = stopped if waiting is None else waiting
        if again is not None and (waiting is None or _is_below_floor(row, waiting)):
            releases.accept(environment=row, manifest_bytes=bytes(again.manifest), by=by, plan={})
        nudges.advance(row.pk)
    return row


def _is_below_floor(environment: Environment, waiting: Release) -> bool:
    """Whether the node that serves it next has taken a later order already, so that it refuses this number for good.

    A rented node is another one after a stop, and has taken none; a machine that serves many stays.
    """
    if not accounts.capabilities_of(environment.account).serves_many_environments:
        return False
    return environment.orders.filter(sequence__gt=waiting.sequence, offered_at__isnull=False).exists()


def _locked(environment: Environment) -> Environment:
    return Environment.objects.locked(environment.pk)


def _record(environment: Environment, kind: str, by: By, data: Mapping[str, object]) -> None:
    events.record(**environment.event_place(), subject=("environment", environment.pk), kind=kind, by=by, data=data)


def _gate(is_open: bool) -> str:
    return "open" if is_open else "closed"

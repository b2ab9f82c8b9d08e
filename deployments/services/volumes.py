"""Volumes of an environment: made when a release declares them, attached where its node is, detached before that goes.

Each row is driven alone, one exchange at a time: what is under way lies in `operation`, by the name of the call that
began it. Nothing here deletes a volume but the operator's order that made its state `deleting`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from providers import idempotent, rules
from providers.errors import NotFound, ProviderError, Retry
from providers.ports import ComputeProvider, Operation, ResourceKey, VolumeSpec
from providers.ports import Volume as AtProvider
from timeline import events
from timeline.transitions import transition

from ..domain.states import VolumeState
from ..models import Environment, Volume
from . import accounts, attempts
from .attempts import Lease
from .servers import COULD_NOT_ASK

LOST = "volume.lost"
# What one call may do for a row: make, attach and grow it where the provider needs no time.
_STEPS_AT_ONCE = 4
_GONE = frozenset({VolumeState.DELETED})
# Something is under way that has to be brought to an end, whatever is wanted next.
UNDER_WAY = frozenset(
    {
        VolumeState.CREATING,
        VolumeState.ATTACHING,
        VolumeState.DETACHING,
        VolumeState.RESIZING,
        VolumeState.DELETING,
    }
)
_ON_A_SERVER = Q(state__in=[VolumeState.ATTACHED, VolumeState.ATTACHING, VolumeState.DETACHING]) | (
    Q(state=VolumeState.RESIZING) & ~Q(server_id="")
)
Step = Callable[[Lease, Volume, ComputeProvider], None]


def of(environment: Environment) -> Any:
    """The environment's volumes that are not deleted."""
    return environment.volumes.exclude(state__in=_GONE).select_related("environment__project")


def ensure(environment_id: UUID, declared: Mapping[str, int | None], *, since: datetime | None = None) -> list[Volume]:
    """A row for each declared name (GB, or None for the default), asked to grow where more is declared.

    The provider is not asked here. A release accepted at `since` begins anew what failed for good before it.
    """
    with transaction.atomic():
        environment = Environment.objects.locked(environment_id)
        rows = {row.name: row for row in of(environment)}
        for name, size_gb in declared.items():
            if name not in rows:
                rows[name] = request(environment, name, size_gb)
            else:
                _ask_again(rows[name], since)
                _ask_to_grow(rows[name], size_gb)
    return [rows[name] for name in declared]


def request(environment: Environment, name: str, size_gb: int | None) -> Volume:
    """The row of a new volume, in the caller's transaction, with the environment's row locked."""
    capabilities = accounts.capabilities_of(environment.account)
    row = Volume.objects.create(
        environment=environment,
        name=name,
        account=environment.account,
        location=environment.location or capabilities.locations[0].name,
        size_gb=rules.rounded_size(size_gb, capabilities.volumes),
    )
    _tell(row, "volume:requested", "info", {"name": name, "size_gb": row.size_gb})
    return row


def _ask_again(row: Volume, since: datetime | None) -> None:
    if (
        since is None
        or row.fault is None
        or not row.fault["is_final"]
        or datetime.fromisoformat(row.fault["at"]) > since
    ):
        return
    if row.state == VolumeState.LOST:
        return
    attempts.forgive(row)
    if row.state == VolumeState.FAILED:
        _move(row, VolumeState.REQUESTED)


def _ask_to_grow(row: Volume, size_gb: int | None) -> None:
    """A declared size is a minimum; without one, whatever there is will do."""
    if size_gb is None:
        return
    wanted = rules.rounded_size(size_gb, accounts.capabilities_of(row.account).volumes)
    if row.state == VolumeState.REQUESTED:
        Volume.objects.filter(pk=row.pk).update(size_gb=wanted)
        row.size_gb = wanted
    elif wanted > max(row.size_gb, row.wanted_gb or 0):
        Volume.objects.filter(pk=row.pk).update(wanted_gb=wanted)
        row.wanted_gb = wanted


# Driving


def drive(rows: Iterable[Volume], server_id: str) -> list[Volume]:
    """Steps of each row towards attached to this server (empty: towards existing); each row's failure is its own."""
    return [_driven(row, server_id) for row in rows]


def detach_all(environment: Environment) -> bool:
    """Steps of each row towards detached. True when nothing is attached any more."""
    rows = of(environment).filter(_ON_A_SERVER)
    for row in rows:
        _driven(row, None)
    return not rows.all().exists()


def detach(row: Volume) -> None:
    _driven(row, None)


def settle(environment: Environment) -> None:
    """Bring to its end what is under way at volumes that no release waits for, such as an operator's order."""
    wanted = Q(state__in=UNDER_WAY) | Q(state=VolumeState.REQUESTED) | Q(wanted_gb__isnull=False)
    for row in of(environment).filter(wanted):
        _driven(row, None if row.state == VolumeState.DETACHING else row.server_id)


def tidy(environment: Environment, *, declared: Collection[str], server_id: str) -> None:
    """After a release became live: what it no longer declares is detached and kept; what it declares and somebody has
    detached by hand is attached again; what it has mounted counts as formatted from here on, so that no later payload
    lets a node format it."""
    for row in of(environment).filter(state__in=[VolumeState.ATTACHED, VolumeState.DETACHING]):
        if row.name not in declared:
            _driven(row, None)
    if server_id:
        for row in of(environment).filter(name__in=declared, state=VolumeState.AVAILABLE):
            if not (row.fault and row.fault["is_final"]):
                _driven(row, server_id)
    mounted = of(environment).filter(name__in=declared, state=VolumeState.ATTACHED, ever_formatted=False)
    Volume.objects.filter(pk__in=mounted.values("pk")).update(ever_formatted=True)


def _driven(row: Volume, server_id: str | None) -> Volume:
    """`server_id` is where it shall be: a server, "" for no matter, None for nowhere."""
    for _ in range(_STEPS_AT_ONCE):
        step = _next_step(row, server_id)
        if step is None:
            break
        lease = attempts.claim(row, environment_id=row.environment_id)
        if lease is None:
            break
        # Claiming has read the row anew, and another worker may have taken that step meanwhile.
        step = _next_step(row, server_id)
        if step is None:
            attempts.give_back(lease)
            break
        _exchange(lease, step)
        if row.fault or row.poll_after:
            break
    return row


def _next_step(row: Volume, server_id: str | None) -> Step | None:
    if row.operation:
        return _follow
    has_to_grow = row.wanted_gb is not None and row.wanted_gb > row.size_gb
    match row.state:
        case VolumeState.REQUESTED | VolumeState.CREATING:
            return _create
        case VolumeState.ATTACHING if server_id and row.server_id == server_id:
            return _attach
        case VolumeState.ATTACHING | VolumeState.DETACHING:
            return _detach
        case VolumeState.RESIZING:
            return _resize
        case VolumeState.DELETING:
            return _delete
        case VolumeState.AVAILABLE | VolumeState.ATTACHED if has_to_grow:
            return _resize
        case VolumeState.AVAILABLE if server_id:
            return lambda lease, row, provider: _attach(lease, row, provider, server_id)
        case VolumeState.ATTACHED if server_id is None or (server_id and row.server_id != server_id):
            return _detach
    return None


def _exchange(lease: Lease, step: Step) -> None:
    row: Volume = lease.row
    try:
        step(lease, row, accounts.provider_of(row.account))
    except NotFound as fault:
        _not_found(lease, row, fault)
    except ProviderError as fault:
        accounts.note_refusal(row.account, fault)
        _refused(lease, row, fault)


def _refused(lease: Lease, row: Volume, fault: ProviderError) -> None:
    """A refusal for good takes the row back to where it was, so that a later release begins anew; a detachment and a
    deletion are asked for until they are done."""
    changes: dict[str, Any] = {} if isinstance(fault, COULD_NOT_ASK) else {"operation": None, "poll_after": None}
    with transaction.atomic():
        attempts.failed(lease, fault, **changes)
        if row.fault is None or not row.fault["is_final"]:
            return
        told = {"code": fault.code, "summary": str(fault), "name": row.name}
        if row.state == VolumeState.REQUESTED:
            _move(row, VolumeState.CREATING)
        if row.state == VolumeState.CREATING:
            transition(row, to=VolumeState.FAILED, severity="error", data=told)
        elif row.state == VolumeState.ATTACHING:
            transition(row, to=VolumeState.AVAILABLE, severity="error", data=told, server_id="")
        elif row.state == VolumeState.RESIZING:
            transition(row, to=_where_it_is(row), severity="error", data=told, wanted_gb=None)


def _not_found(lease: Lease, row: Volume, fault: NotFound) -> None:
    """The volume itself, or the server that it should go to? Only the first is lost, once it was there."""
    if row.state in (VolumeState.REQUESTED, VolumeState.CREATING):
        _refused(lease, row, fault)
        return
    try:
        accounts.provider_of(row.account).get_volume(row.volume_id)
    except NotFound:
        with transaction.atomic():
            attempts.record(lease)
            lose(row)
    except ProviderError as other:
        attempts.failed(lease, other)
    else:
        # Its server is missing: the survey tells, and the node says it.
        attempts.failed(lease, ServerMissing(fault.message))


class ServerMissing(ProviderError):
    """What it should be attached to is not there."""

    code = "provider.server_missing"
    retry = Retry.YES
    cure = "The node is looked after first; it is tried again by itself."


def lose(row: Volume) -> bool:
    """The provider has it no more, and nobody here deleted it: said, and no new one takes its place by itself.

    In the caller's transaction.
    """
    if row.state == VolumeState.DELETING:
        return transition(row, to=VolumeState.DELETED, operation=None, poll_after=None)
    if VolumeState.LOST not in row.EDGES.get(VolumeState(row.state), {}):
        return False
    message = (
        f"Volume {row.name} ({row.volume_id}) no longer exists at {row.account}, and what was on it is gone with it. "
        f"An operator decides: `manage.py volume delete {row.environment} {row.name} --confirm {row.name}` "
        "lets the next release make an empty one."
    )
    told = {"code": LOST, "summary": message, "name": row.name}
    fault = attempts.fault_of(LOST, message)
    nothing: dict[str, Any] = {"operation": None, "poll_after": None, "server_id": ""}
    return transition(row, to=VolumeState.LOST, severity="error", data=told, fault=fault, **nothing)


# Steps: intent, one exchange, record


def _create(lease: Lease, row: Volume, provider: ComputeProvider) -> None:
    key = key_of(row)
    settles_at = lease.settles_at
    late = settles_at is not None and settles_at > timezone.now() and not row.volume_id
    if late and settles_at and not idempotent.find_volumes(provider, key):
        # A worker died here: what it may have made is not listed yet.
        attempts.wait(lease, settles_at)
        return
    if row.state == VolumeState.REQUESTED:
        _move(row, VolumeState.CREATING)
    outcome = provider.create_volume(VolumeSpec(key=key, location=row.location, size_gb=row.size_gb))
    with transaction.atomic():
        # Whoever holds the lease by now: an id that is known is never forgotten.
        Volume.objects.filter(pk=row.pk).update(volume_id=outcome.value.id)
        if outcome.surplus:
            _tell(row, "volume:surplus", "warning", {"name": row.name, "volumes": list(outcome.surplus)})
        wanted = row.size_gb if outcome.value.size_gb < row.size_gb else row.wanted_gb
        if attempts.record(lease, kind="create", pending=outcome.pending, wanted_gb=wanted, **_facts(outcome.value)):
            _ended(row, "create", outcome.pending, outcome.value)


def key_of(row: Volume) -> ResourceKey:
    return ResourceKey(accounts.installation(), str(row.environment_id), row.name)


def _attach(lease: Lease, row: Volume, provider: ComputeProvider, server_id: str = "") -> None:
    if row.state == VolumeState.AVAILABLE:
        _move(row, VolumeState.ATTACHING, server_id=server_id)
    outcome = provider.attach_volume(row.volume_id, row.server_id)
    with transaction.atomic():
        if attempts.record(lease, kind="attach", pending=outcome.pending, **_facts(outcome.value)):
            _ended(row, "attach", outcome.pending, outcome.value)


def _detach(lease: Lease, row: Volume, provider: ComputeProvider) -> None:
    """Of one that was being attached, too: whether the provider did it, only the provider knows."""
    if row.state == VolumeState.ATTACHED:
        _move(row, VolumeState.DETACHING)
    outcome = provider.detach_volume(row.volume_id)
    with transaction.atomic():
        if attempts.record(lease, kind="detach", pending=outcome.pending):
            _ended(row, "detach", outcome.pending, outcome.value)


def _resize(lease: Lease, row: Volume, provider: ComputeProvider) -> None:
    if row.state != VolumeState.RESIZING:
        _move(row, VolumeState.RESIZING)
    outcome = provider.resize_volume(row.volume_id, row.wanted_gb or row.size_gb)
    with transaction.atomic():
        if attempts.record(lease, kind="resize", pending=outcome.pending):
            _ended(row, "resize", outcome.pending, outcome.value)


def _delete(lease: Lease, row: Volume, provider: ComputeProvider) -> None:
    pending = None
    if row.volume_id:
        pending = provider.delete_volume(row.volume_id)
    elif found := idempotent.find_volumes(provider, key_of(row)):
        # Its making was cut off before the id was known.
        Volume.objects.filter(pk=row.pk).update(volume_id=found[0].id)
        attempts.record(lease)
        return
    with transaction.atomic():
        if attempts.record(lease, kind="delete", pending=pending):
            _ended(row, "delete", pending, None)


def _follow(lease: Lease, row: Volume, provider: ComputeProvider) -> None:
    """Ask how far it is; once it has ended, the volume itself tells how."""
    operation = row.operation or {}
    kind = operation["kind"]
    pending = provider.poll(Operation(operation["token"], 0.0, operation.get("overdue", "")))
    found = None
    if pending is None and kind != "delete":
        found = provider.get_volume(row.volume_id)
    with transaction.atomic():
        if attempts.record(lease, kind=kind, pending=pending, **(_facts(found) if found else {})):
            _ended(row, kind, pending, found)


def _ended(row: Volume, kind: str, pending: Operation | None, found: AtProvider | None) -> None:
    """Move the row on, where nothing is under way any more and the volume is what was wanted. In a transaction.

    Where it is not, the row stays where it is, and the call is made again: all of them are idempotent.
    """
    if pending is not None:
        return
    if kind == "delete":
        transition(row, to=VolumeState.DELETED, data={"name": row.name})
    elif kind == "create" and row.state == VolumeState.CREATING:
        transition(row, to=VolumeState.AVAILABLE, data={"name": row.name})
    elif kind == "attach" and row.state == VolumeState.ATTACHING:
        if found is not None and found.server_id == row.server_id:
            transition(row, to=VolumeState.ATTACHED, data={"name": row.name, "server": row.server_id})
    elif kind == "detach":
        transition(row, to=VolumeState.AVAILABLE, server_id="", data={"name": row.name})
    elif kind == "resize" and row.state == VolumeState.RESIZING and found and found.size_gb >= (row.wanted_gb or 0):
        told = {"name": row.name, "size_gb": found.size_gb}
        transition(row, to=_where_it_is(row), size_gb=found.size_gb, wanted_gb=None, data=told)


def _where_it_is(row: Volume) -> VolumeState:
    return VolumeState.ATTACHED if row.server_id else VolumeState.AVAILABLE


def _facts(found: AtProvider) -> dict[str, Any]:
    """What the provider says of a volume, for its row."""
    facts = {
        "size_gb": found.size_gb,
        "device_path": found.device_path or found.directory or "",
        "device_serial": found.device_serial or "",
    }
    return {name: value for name, value in facts.items() if value}


def _move(row: Volume, to: VolumeState, **changes: Any) -> None:
    with transaction.atomic():
        transition(row, to=to, data={"name": row.name}, **changes)


def _tell(row: Volume, kind: str, severity: str, data: Mapping[str, Any]) -> None:
    events.record(**row.event_place(), subject=("volume", row.pk), kind=kind, severity=severity, data=data)

"""Volumes of an environment: made when a release declares them, attached before its payload, detached with the node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from providers import rules
from providers.errors import ProviderError
from providers.ports import ComputeProvider, ResourceKey, VolumeSpec
from timeline.transitions import transition

from ..domain.states import VolumeState
from ..models import Environment, Node, Volume
from . import accounts, attempts

DEFAULT_SIZE_GB = 10
_KEPT = frozenset({VolumeState.DELETED})


def ensure(environment_id: UUID, declared: Mapping[str, int | None]) -> list[Volume]:
    """A row for each declared name (GB or None for the default); the provider is not asked here."""
    with transaction.atomic():
        environment = Environment.objects.locked(environment_id)
        rows = {row.name: row for row in environment.volumes.exclude(state__in=_KEPT)}
        for name, size_gb in declared.items():
            if name not in rows:
                wanted = rules.rounded_size(
                    size_gb or DEFAULT_SIZE_GB, accounts.provider_of(environment.account).capabilities.volumes
                )
                rows[name] = Volume.objects.create(
                    environment=environment,
                    name=name,
                    account=environment.account,
                    location=environment.location,
                    size_gb=wanted,
                )
    return [rows[name] for name in declared]


def drive(environment: Environment, node: Node, rows: Iterable[Volume]) -> list[Volume]:
    """One step of each row towards attached; each row's failure is its own. Answers the rows as they are now."""
    driven = list(rows)
    for row in driven:
        if row.state != VolumeState.ATTACHED and attempts.claim(row):
            _step(row, partial(_towards_attached, environment, node, row))
    return list(Volume.objects.filter(pk__in=[row.pk for row in driven]).select_related("environment"))


def detach_all(environment: Environment) -> bool:
    """One step of each row towards detached. True when nothing is attached any more."""
    rows = environment.volumes.filter(state__in=[VolumeState.ATTACHED, VolumeState.ATTACHING, VolumeState.DETACHING])
    for row in rows.select_related("environment"):
        if attempts.claim(row):
            _step(row, partial(_towards_detached, row))
    return not rows.all().exists()


def _step(row: Volume, exchange: Callable[[ComputeProvider], None]) -> None:
    try:
        exchange(accounts.provider_of(row.account))
    except ProviderError as fault:
        accounts.note_refusal(row.account, fault)
        attempts.failed(row, code=fault.code, message=str(fault))
    else:
        attempts.succeeded(row)


def _towards_attached(environment: Environment, node: Node, row: Volume, provider: ComputeProvider) -> None:
    if row.state == VolumeState.REQUESTED:
        _move(row, VolumeState.CREATING)
    if row.state == VolumeState.CREATING:
        location = row.location or provider.capabilities.locations[0].name
        key = ResourceKey(accounts.installation(), str(environment.pk), row.name)
        outcome = provider.create_volume(VolumeSpec(key=key, location=location, size_gb=row.size_gb))
        Volume.objects.filter(pk=row.pk).update(volume_id=outcome.value.id, location=location)
        row.volume_id = outcome.value.id
        if outcome.pending is None:
            _move(row, VolumeState.AVAILABLE)
    if row.state == VolumeState.AVAILABLE and node.server_id:
        _move(row, VolumeState.ATTACHING, server_id=node.server_id)
    if row.state == VolumeState.ATTACHING:
        attached = provider.attach_volume(row.volume_id, row.server_id)
        if attached.pending is None:
            _move(row, VolumeState.ATTACHED, device_path=attached.value.device_path or attached.value.directory or "")


def _towards_detached(row: Volume, provider: ComputeProvider) -> None:
    if row.state == VolumeState.ATTACHING:
        _move(row, VolumeState.AVAILABLE)
        return
    if row.state == VolumeState.ATTACHED:
        _move(row, VolumeState.DETACHING)
    if row.state == VolumeState.DETACHING and provider.detach_volume(row.volume_id).pending is None:
        _move(row, VolumeState.AVAILABLE, server_id="")


def _move(row: Volume, to: VolumeState, **changes: Any) -> None:
    with transaction.atomic():
        transition(row, to=to, **changes)

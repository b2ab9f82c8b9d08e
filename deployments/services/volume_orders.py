"""What is ordered of volumes directly: a new one, a larger one, none any more. `volumes` carries it out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from django.db import transaction

from providers import rules
from timeline import events
from timeline.transitions import transition

from .. import nudges
from ..domain.states import EnvironmentState, VolumeState
from ..errors import DeploymentError, EnvironmentNotActive, InvalidValue, NotFound
from ..models import Environment, Volume
from ..selectors import policies
from . import accounts, volumes

By = Mapping[str, str]
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_GROWS_IN = frozenset({VolumeState.AVAILABLE, VolumeState.ATTACHED, VolumeState.RESIZING})
_ENDS_IN = frozenset({VolumeState.REQUESTED, VolumeState.AVAILABLE, VolumeState.FAILED})


class VolumeExists(DeploymentError):
    code = "volume.exists"

    def __init__(self, environment: object, name: str):
        self.environment, self.name = environment, name

    def __str__(self) -> str:
        return f"{self.environment} has a volume {self.name} already. Use it, or choose another name."


class VolumeInUse(DeploymentError):
    """It is attached, or something is under way at it."""

    code = "volume.in_use"

    def __init__(self, name: str, state: str, wanted: str):
        self.name, self.volume_state, self.wanted = name, state, wanted

    def __str__(self) -> str:
        return (
            f"Volume {self.name} is {self.volume_state}, so it cannot be {self.wanted} now. Stop the environment, or "
            "release without the volume; `manage.py volume list` tells when it is available."
        )


class VolumeShrinks(DeploymentError):
    code: ClassVar[str] = "volume.shrinks"
    status: ClassVar[int] = 422

    def __init__(self, name: str, size_gb: int, wanted_gb: int):
        self.name, self.size_gb, self.wanted_gb = name, size_gb, wanted_gb

    def __str__(self) -> str:
        return (
            f"Volume {self.name} has {self.size_gb} GB and cannot shrink to {self.wanted_gb}. Ask for at least what it "
            "has, or move its content to a new volume."
        )


class NotConfirmed(DeploymentError):
    """What cannot be undone needs the name typed."""

    code: ClassVar[str] = "confirmation.missing"
    status: ClassVar[int] = 422

    def __init__(self, what: str, name: str):
        self.what, self.name = what, name

    def __str__(self) -> str:
        return f"{self.what} This cannot be undone. To go on, add: --confirm {self.name}"


def named(environment: Environment, name: str) -> Volume:
    """Raises NotFound."""
    row: Volume | None = volumes.of(environment).filter(name=name).first()
    if row is None:
        raise NotFound("volume", name)
    return row


def create(*, environment: Environment, name: str, size_gb: int | None, by: By) -> Volume:
    """Order a volume that no release declares yet. It is made now, and attached when a release declares it.

    Raises EnvironmentNotActive, InvalidValue for what the policy or the provider does not allow, VolumeExists.
    """
    _check_name(name)
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        if row.state not in (EnvironmentState.ACTIVE, EnvironmentState.STARTING):
            raise EnvironmentNotActive(row, row.state)
        if volumes.of(row).filter(name__iexact=name).exists():
            raise VolumeExists(row, name)
        _check_bounds(row, size_gb)
        made = volumes.request(row, name, size_gb)
        _tell(made, "volume:ordered", by, {"size_gb": made.size_gb})
        nudges.advance(row.pk)
    return made


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        cure = "Use up to 63 letters, digits, dots, dashes and underscores, with a letter or digit at both ends."
        raise InvalidValue("name", "is no name of a volume", cure)


def _check_bounds(environment: Environment, size_gb: int | None) -> None:
    policy = policies.of(environment)
    if volumes.of(environment).count() >= policy.max_volumes:
        cure = "Delete one that is not needed, or ask an operator to raise the environment's limit."
        raise InvalidValue("name", f"the environment has {policy.max_volumes} volumes, as many as it may", cure)
    if size_gb is None:
        return
    if size_gb < 1:
        raise InvalidValue("size_gb", "must be at least 1", "Give gigabytes of 10^9 bytes.")
    if size_gb > policy.max_volume_gb:
        cure = "Ask for less, or ask an operator to raise the environment's limit."
        raise InvalidValue("size_gb", f"this environment allows {policy.max_volume_gb}", cure)
    _check_maximum(environment.account, size_gb)


def _check_maximum(account: str, size_gb: int) -> None:
    most = accounts.capabilities_of(account).volumes.max_gb
    if size_gb > most:
        raise InvalidValue("size_gb", f"the provider makes volumes of {most} GB at most", "Ask for less.")


def resize(*, environment: Environment, name: str, size_gb: int, by: By) -> Volume:
    """Order a volume to grow; its file system is grown by the node. To the size it has: nothing is to be done.

    Raises NotFound, VolumeShrinks, InvalidValue, VolumeInUse.
    """
    with transaction.atomic():
        Environment.objects.locked(environment.pk)
        row = named(environment, name)
        wanted = rules.rounded_size(size_gb, accounts.capabilities_of(row.account).volumes)
        if size_gb < 1 or wanted < row.size_gb:
            raise VolumeShrinks(name, row.size_gb, size_gb)
        _check_maximum(row.account, wanted)
        if row.state not in _GROWS_IN:
            raise VolumeInUse(name, row.state, "grown")
        if wanted > max(row.size_gb, row.wanted_gb or 0):
            row.wanted_gb = wanted
            Volume.objects.filter(pk=row.pk).update(wanted_gb=wanted, retry_at=None, failures=0, fault=None)
            _tell(row, "volume:growth_ordered", by, {"from_gb": row.size_gb, "to_gb": wanted})
        nudges.advance(environment.pk)
    return row


def delete(*, environment: Environment, name: str, confirm: str | None, by: By) -> Volume:
    """Delete a volume and what is on it: the only thing that does. `confirm` is its name, typed.

    One that is lost leaves the rows; a release that waits for it makes an empty one then.
    Raises NotFound, NotConfirmed, VolumeInUse.
    """
    with transaction.atomic():
        Environment.objects.locked(environment.pk)
        row = named(environment, name)
        if confirm != name:
            raise NotConfirmed(f"This deletes volume {name} ({row.size_gb} GB) and everything on it.", name)
        if row.state == VolumeState.DELETING:
            return row
        to = VolumeState.DELETED if row.state == VolumeState.LOST else VolumeState.DELETING
        if row.state not in (*_ENDS_IN, VolumeState.LOST):
            raise VolumeInUse(name, row.state, "deleted")
        fresh = {"retry_at": None, "poll_after": None, "failures": 0, "fault": None, "operation": None}
        transition(row, to=to, by=by, data={"name": name}, severity="warning", **fresh)
        nudges.advance(environment.pk)
    return row


def _tell(row: Volume, kind: str, by: By, data: Mapping[str, object]) -> None:
    told = {"name": row.name, **data}
    events.record(**row.event_place(), subject=("volume", row.pk), kind=kind, by=by, data=told)

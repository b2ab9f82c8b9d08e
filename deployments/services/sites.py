"""Sites: account, location and size of an environment's nodes; checked where chosen, never changed silently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from providers.ports import Capabilities, Catalogue, Size
from timeline import events

from .. import nudges
from ..domain.states import NodeState
from ..errors import DeploymentError, InvalidValue
from ..models import Environment, Node
from ..selectors import provider_accounts
from . import accounts, attempts, servers, volumes

By = Mapping[str, str]


class VolumesStay(DeploymentError):
    """Volumes live in a location and do not move."""

    code = "environment.volumes_stay"

    def __init__(self, environment: Environment, names: list[str]):
        self.environment, self.names = environment, names

    def __str__(self) -> str:
        return (
            f"{self.environment} has volumes where it is ({', '.join(self.names)}), and volumes do not move. Delete "
            "them first (`manage.py volume delete`), or make another environment there."
        )


class NodeStays(DeploymentError):
    """A node is being made, or is there: it belongs to the account that it came from."""

    code = "environment.node_stays"

    def __init__(self, environment: Environment):
        self.environment = environment

    def __str__(self) -> str:
        return (
            f"{self.environment} has a node of account {self.environment.account}. Stop it first "
            f"(`manage.py environment stop {self.environment}`), then choose another account."
        )


@dataclass(frozen=True, slots=True)
class Site:
    """A choice that can be ordered. `price` is the provider's, with the time that it was told, where it was."""

    account: str
    location: str
    size: str
    chosen: Size | None = None
    as_of: str | None = None
    warnings: tuple[str, ...] = field(default_factory=tuple)

    @property
    def price(self) -> str | None:
        """Per month, without taxes, as the provider told it; None where it did not."""
        return provider_accounts.price(self.chosen.monthly_price) if self.chosen else None

    def as_json(self) -> dict[str, Any]:
        if self.chosen is None or self.price is None:
            return {"price": None}
        return {"price": {"monthly": self.price, "currency": self.chosen.currency, "as_of": self.as_of}}

    def lines(self) -> list[str]:
        if self.chosen is None or self.price is None:
            return []
        told = f"{self.price} {self.chosen.currency} a month without taxes"
        return [f"{self.size} in {self.location}: {told}, as the provider said at {self.as_of}."]


def choose(*, account: str, location: str, size: str) -> Site:
    """The site, with the account's defaults where nothing is given. What its provider does not have is refused.

    Where the provider cannot be asked now, what it said earlier decides, and a warning says so.
    Raises UnknownAccount, InvalidValue.
    """
    capabilities = accounts.capabilities_of(account)
    if capabilities.serves_many_environments:
        _check(location, {place.name for place in capabilities.locations}, "location", account)
        _check(size, {each.name for each in capabilities.sizes}, "size", account)
        return Site(account, location, size)
    location = location or capabilities.locations[0].name
    size = size or capabilities.sizes[0].name
    catalogue = accounts.catalogue_of(account)
    if catalogue is None:
        return _unasked(account, location, size, capabilities)
    return _asked(account, location, size, capabilities, catalogue)


def _unasked(account: str, location: str, size: str, capabilities: Capabilities) -> Site:
    if capabilities.locations_are_all:
        _check(location, {place.name for place in capabilities.locations}, "location", account)
    told = (
        f"Account {account} cannot be asked now, so {size} in {location} is unchecked; `provider_account check` asks."
    )
    return Site(account, location, size, warnings=(told,))


def _asked(account: str, location: str, size: str, capabilities: Capabilities, catalogue: Catalogue) -> Site:
    _check(location, {place.name for place in catalogue.locations}, "location", account)
    named = [each for each in catalogue.sizes if each.name == size]
    _check(size, {each.name for each in catalogue.sizes}, "size", account)
    here = [each for each in named if not each.locations or location in each.locations]
    if not here:
        others = sorted({place for each in named for place in each.locations})
        raise InvalidValue("size", f"{size} is not to be had in {location}", f"It is in: {', '.join(others)}.")
    return Site(account, location, size, here[0], catalogue.as_of.isoformat(timespec="seconds"))


def _check(given: str, known: set[str], what: str, account: str) -> None:
    if given and given not in known:
        raise InvalidValue(what, f"account {account} has no {given!r}", f"Choose one of: {', '.join(sorted(known))}.")


def move(*, environment: Environment, to: Site, by: By) -> Environment:
    """Have the environment's next node come from there; the one it has stays what it is until it is replaced.

    Raises VolumesStay, NodeStays.
    """
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        here = (row.account, row.location)
        kept = [each.name for each in volumes.of(row) if (each.account, each.location) != (to.account, to.location)]
        if kept and here != (to.account, to.location):
            raise VolumesStay(row, kept)
        if (
            to.account != row.account
            and Node.objects.filter(environments=row).exclude(state=NodeState.DELETED).exists()
        ):
            raise NodeStays(row)
        was = {"account": row.account, "location": row.location, "size": row.size}
        row.account, row.location, row.size = to.account, to.location, to.size
        row.save(update_fields=["account", "location", "size"])
        told = {"was": was, "account": to.account, "location": to.location, "size": to.size}
        _try_anew(row)
        subject = ("environment", row.pk)
        events.record(**row.event_place(), subject=subject, kind="environment:moved", by=by, data=told)
    return row


def _try_anew(environment: Environment) -> None:
    """A release that waits for what could not be had there is tried here at once."""
    node = Node.objects.filter(environments=environment).first()
    if node is not None and servers.is_refused(node):
        attempts.forgive(node)
    Environment.objects.filter(pk=environment.pk).update(retry_at=None)
    nudges.advance(environment.pk)

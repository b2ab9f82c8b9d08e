"""Surveys: each account looked through as a whole, for what was taken away by hand and for what no row points to.

One complete listing of servers and one of volumes tell it all; a part of a list proves nothing, and none is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import chain
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from providers.errors import NotFound, ProviderError
from providers.ports import ComputeProvider, Server, ServerState
from providers.ports import Volume as VolumeAtProvider
from timeline import events
from timeline.transitions import transition

from .. import nudges
from ..domain.states import NodeState, VolumeState
from ..models import Environment, Node, Orphan, Survey, Volume
from . import accounts, attempts, servers, volumes

EVERY_SECONDS = 60.0
_ROWS_AT_THAT_PACE = 300
"""Accounts with more rows are looked through less often: their lists have more pages, and clouds count requests."""
POLLS_PER_SURVEY = 20
"""An account's shorter `poll_seconds` shortens the survey's pace, too."""
ORPHAN_GRACE_SECONDS = 3600
"""Longer than any provisioning takes: until then a server without a row may be one whose row is about to say so."""
_ORPHANS_AT_ONCE = 5
_HAS_SERVER = frozenset(
    {
        NodeState.BOOTING,
        NodeState.ENROLLED,
        NodeState.READY,
        NodeState.WARM,
        NodeState.UNREACHABLE,
        NodeState.DRAINING,
        NodeState.LOST,
    }
)
_IS_THERE = frozenset({VolumeState.AVAILABLE, VolumeState.ATTACHED, VolumeState.LOST})
NOBODY = UUID(int=0)


def due() -> list[str]:
    """Accounts that hold, or held, something of ours and have not been looked through for a while."""
    rows: Iterable[str] = chain(
        Node.objects.exclude(state=NodeState.DELETED).filter(shared=False).values_list("account", flat=True).distinct(),
        Volume.objects.exclude(state=VolumeState.DELETED).values_list("account", flat=True).distinct(),
        Orphan.objects.filter(gone_at__isnull=True).values_list("account", flat=True).distinct(),
        Survey.objects.filter(surveyed_at__isnull=False).values_list("account", flat=True),
    )
    known = {row.account: row for row in Survey.objects.all()}
    return [name for name in sorted(set(rows)) if name not in known or attempts.is_due(known[name])]


def survey(account: str) -> None:
    """Look through one account: at most one listing of each kind, and a second look at what is missing from it."""
    Survey.objects.get_or_create(account=account)
    lease = attempts.claim(Survey(account=account))
    if lease is None:
        return
    try:
        _look(account, lease)
    except ProviderError as fault:
        accounts.note_refusal(account, fault)
        attempts.failed(lease, fault)


def _look(account: str, lease: attempts.Lease) -> None:
    provider = accounts.provider_of(account)
    nodes, rows = _nodes(account), _volumes(account)
    installation = accounts.installation()
    seen_volumes = {each.id: each for each in provider.list_volumes(installation=installation)}
    if not provider.capabilities.serves_many_environments:
        seen_servers = {each.id: each for each in provider.list_servers(installation=installation)}
        _compare_nodes(provider, nodes, seen_servers)
        _note_orphans(account, "server", _unknown_servers(account, seen_servers.values()))
        _give_back_orphans(account, provider, seen_servers)
    _compare_volumes(provider, rows, seen_volumes)
    _note_orphans(account, "volume", _unknown_volumes(account, seen_volumes.values()))
    attempts.finish_survey(lease, after_seconds=_pace(account, len(nodes) + len(rows)))


def _pace(account: str, rows: int) -> float:
    seconds = EVERY_SECONDS
    if "poll_seconds" in accounts.options_of(account):
        seconds = min(seconds, max(1.0, POLLS_PER_SURVEY * accounts.seconds_of(account, "poll_seconds", 1.0)))
    return seconds * max(1.0, rows / _ROWS_AT_THAT_PACE)


def _nodes(account: str) -> list[Node]:
    """Read before the listing: what the provider made since is none of them."""
    rows = Node.objects.filter(account=account, shared=False, operation__isnull=True, state__in=_HAS_SERVER)
    return list(rows.exclude(server_id="").select_related("owner"))


def _volumes(account: str) -> list[Volume]:
    rows = Volume.objects.filter(account=account, operation__isnull=True, state__in=_IS_THERE)
    return list(rows.exclude(volume_id="").select_related("environment__project"))


# What was taken away by hand


def _compare_nodes(provider: ComputeProvider, rows: Iterable[Node], seen: Mapping[str, Server]) -> None:
    for row in rows:
        if row.server_id in seen:
            if row.state == NodeState.LOST:
                _find_again(row)
        elif row.state != NodeState.LOST and _is_gone(lambda row=row: provider.get_server(row.server_id)):
            _lose_node(row)


def _is_gone(look: Any) -> bool:
    """Looked at by itself: a list that lacks it is no proof."""
    try:
        look()
    except NotFound:
        return True
    return False


def _lose_node(row: Node) -> None:
    with transaction.atomic():
        if servers.lose(row) and row.owner_id:
            nudges.advance(row.owner_id)


def _find_again(row: Node) -> None:
    to = NodeState.UNREACHABLE if row.ed25519_public is not None else NodeState.BOOTING
    with transaction.atomic():
        if transition(row, to=to, fault=None) and row.owner_id:
            nudges.advance(row.owner_id)


def _compare_volumes(provider: ComputeProvider, rows: Iterable[Volume], seen: Mapping[str, VolumeAtProvider]) -> None:
    for row in rows:
        found = seen.get(row.volume_id)
        if found is None:
            if row.state != VolumeState.LOST and _is_gone(lambda row=row: provider.get_volume(row.volume_id)):
                _lose_volume(row)
        elif row.state == VolumeState.LOST:
            with transaction.atomic():
                if transition(row, to=VolumeState.AVAILABLE, fault=None, server_id=""):
                    nudges.advance(row.environment_id)
        elif row.state == VolumeState.ATTACHED and found.server_id is None:
            _detached_by_hand(row)


def _lose_volume(row: Volume) -> None:
    with transaction.atomic():
        if volumes.lose(row):
            nudges.advance(row.environment_id)


def _detached_by_hand(row: Volume) -> None:
    """Recorded as attached, and is not: the row follows, and who declares it has it attached again."""
    summary = f"Volume {row.name} was detached at the provider by hand."
    told = {"code": "volume.detached", "summary": summary, "name": row.name}
    with transaction.atomic():
        if transition(row, to=VolumeState.DETACHING, severity="warning", data=told):
            nudges.advance(row.environment_id)


# What no row points to


def _unknown_servers(account: str, seen: Iterable[Server]) -> list[Server]:
    """Rows are read after the listing. A node without its server's id may own any server of its environment."""
    rows = Node.objects.exclude(state=NodeState.DELETED).filter(account=account)
    known = set(rows.values_list("server_id", flat=True))
    unsure = {str(each) for each in rows.filter(server_id="").values_list("owner_id", flat=True)}
    unsure |= {str(each) for each in rows.filter(server_id="", owner__isnull=True).values_list("pk", flat=True)}
    return [
        each
        for each in seen
        if each.id not in known and each.key and each.key.environment_id not in unsure and _stays(each)
    ]


def _stays(server: Server) -> bool:
    return server.state is not ServerState.DELETING


def _unknown_volumes(account: str, seen: Iterable[VolumeAtProvider]) -> list[VolumeAtProvider]:
    rows = Volume.objects.exclude(state=VolumeState.DELETED).filter(account=account)
    known = set(rows.values_list("volume_id", flat=True))
    unsure = {(str(row.environment_id), row.name) for row in rows.filter(volume_id="")}
    owned = set(chain.from_iterable(Node.objects.filter(account=account).values_list("owned_volume_ids", flat=True)))
    return [
        each
        for each in seen
        if each.id not in known and each.id not in owned and each.key
        and (each.key.environment_id, each.key.name) not in unsure
    ]  # fmt: skip


def _note_orphans(account: str, kind: str, found: Iterable[Any]) -> None:
    """Reported once, when first seen; what is there no more is marked so."""
    now = timezone.now()
    ids = []
    for each in found:
        ids.append(each.id)
        row, is_new = Orphan.objects.get_or_create(
            account=account,
            kind=kind,
            resource_id=each.id,
            defaults={
                "environment_id": each.key.environment_id,
                "resource": each.key.name,
                "first_seen_at": now,
            },
        )
        if is_new:
            _tell(row, "orphan:seen", "warning")
        elif row.gone_at is not None:
            Orphan.objects.filter(pk=row.pk).update(gone_at=None, first_seen_at=now)
    here = Orphan.objects.filter(account=account, kind=kind, gone_at__isnull=True)
    here.exclude(resource_id__in=ids).update(gone_at=now)


def _give_back_orphans(account: str, provider: ComputeProvider, seen: Mapping[str, Server]) -> None:
    """Servers only, after the grace; a few at a time, since a mistake here would be a large one."""
    latest = timezone.now() - timedelta(seconds=ORPHAN_GRACE_SECONDS)
    rows = Orphan.objects.filter(account=account, kind="server", gone_at__isnull=True, first_seen_at__lt=latest)
    for row in rows[:_ORPHANS_AT_ONCE]:
        server = seen.get(row.resource_id)
        if server is not None:
            # Idempotent, and asked again at each survey until the provider lists it no more.
            provider.delete_server(server.id, owned_volume_ids=server.owned_volume_ids)
            _tell(row, "orphan:given_back", "warning")


def _tell(row: Orphan, kind: str, severity: str) -> None:
    summary = f"{row.kind.capitalize()} {row.resource_id} at {row.account} carries our labels, and no row points to it."
    data = {"account": row.account, "kind": row.kind, "id": row.resource_id, "summary": summary}
    place = _place(row.environment_id)
    events.record(**place, subject=("orphan", row.pk), kind=kind, severity=severity, data=data)


def _place(environment_id: str) -> Any:
    try:
        environment = Environment.objects.filter(pk=UUID(environment_id)).first()
    except ValueError:
        environment = None
    return environment.event_place() if environment else {"project_id": NOBODY, "environment_id": None}

"""Workspace nodes: warm, claimed, idle, old and silent; and deployment nodes, which are none of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from deployments.models import Environment, Node
from deployments.services import workspaces
from providers.testing.harnesses import HetznerHarness
from tests.clouds import ACCOUNT, BY, World

pytestmark = pytest.mark.parametrize("kind", [HetznerHarness], ids=["hetzner"])
LONG_AGO = timedelta(days=30)


def node(**fields: Any) -> Node:
    made = Node.objects.create(account=ACCOUNT, **{"role": "workspace", "state": "ready", **fields})
    ago = timezone.now() - timedelta(seconds=workspaces.BOOT_GRACE_SECONDS + 60)
    Node.objects.filter(pk=made.pk).update(created_at=fields.get("created_at", ago))
    return made


def ago(seconds: int) -> Any:
    return timezone.now() - timedelta(seconds=seconds)


def state(row: Node) -> str:
    row.refresh_from_db()
    return str(row.state)


def test_an_idle_workspace_ends_by_activity_and_not_by_heartbeats(world: World) -> None:
    idle = node(active_at=ago(workspaces.IDLE_SECONDS + 1), last_seen_at=timezone.now())
    busy = node(active_at=ago(60), last_seen_at=timezone.now())
    workspaces.sweep()
    assert state(idle) in ("deleting", "deleted")
    assert state(busy) == "ready"


@pytest.mark.parametrize(
    "fields",
    [
        {"active_at": timezone.now(), "created_at": timezone.now() - LONG_AGO},
        {"active_at": timezone.now(), "last_seen_at": timezone.now() - LONG_AGO},
        {"state": "unreachable", "active_at": timezone.now() - LONG_AGO},
        {"state": "warm", "created_at": timezone.now() - LONG_AGO},
    ],
    ids=["old", "silent", "idle-and-unreachable", "old-and-warm"],
)
def test_a_workspace_ends_when_its_time_is_over_and_a_deployment_node_never(
    world: World, environment: Environment, fields: dict[str, Any]
) -> None:
    over = node(**fields)
    never = node(**{**fields, "role": "deployment", "state": "ready", "owner": environment})
    for _ in range(3):
        workspaces.sweep()
        world.wait(3600)
        assert not workspaces._move(never.pk, workspaces.is_over(), workspaces.NodeState.DELETING)
    assert state(over) in ("deleting", "deleted")
    assert state(never) == "ready"


def test_a_workspace_that_boots_is_left_alone(world: World) -> None:
    young = node(created_at=timezone.now(), active_at=ago(99_999), last_seen_at=ago(99_999))
    workspaces.sweep()
    assert state(young) == "ready"


def test_activity_between_query_and_claim_saves_a_workspace(world: World) -> None:
    idle = node(active_at=ago(workspaces.IDLE_SECONDS + 1))
    chosen = workspaces._to_end()
    workspaces.touch(idle)
    for each in chosen:
        workspaces._end(each)
    assert state(idle) == "ready"


def test_a_pool_is_filled_warmed_and_claimed_from(world: World, settings: Settings) -> None:
    settings.WORKSPACE_POOLS = {ACCOUNT: 2}
    for _ in range(12):
        workspaces.sweep()
        world.wait(5)
    assert Node.objects.filter(role="workspace", state="booting").count() == 2
    assert len(world.cloud().servers) == 2
    Node.objects.filter(role="workspace").update(state="ready", last_seen_at=timezone.now())
    workspaces.sweep()
    claimed = workspaces.claim(ACCOUNT, by=BY)
    assert claimed is not None
    assert claimed.active_at is not None
    assert Node.objects.filter(state="warm").count() == 1
    assert workspaces.claim("elsewhere", by=BY) is None
    for _ in range(3):
        workspaces.sweep()
    assert Node.objects.filter(role="workspace").count() == 3


def test_an_ended_workspace_gives_its_server_back(world: World, settings: Settings) -> None:
    settings.WORKSPACE_POOLS = {ACCOUNT: 1}
    for _ in range(8):
        workspaces.sweep()
        world.wait(5)
    settings.WORKSPACE_POOLS = {}
    Node.objects.update(state="ready", active_at=ago(workspaces.IDLE_SECONDS * 2), created_at=ago(7200))
    for _ in range(8):
        workspaces.sweep()
        world.wait(5)
    assert Node.objects.get().state == "deleted"
    assert world.harness.billed() == 0

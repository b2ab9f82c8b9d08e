"""Nodes and volumes at a provider as seen from outside: what is promised of them, one by one."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from deployments.domain import compose
from deployments.errors import InvalidSubmission, InvalidValue
from deployments.models import Environment, Node, Orphan, Release
from deployments.services import (
    accounts,
    admission,
    environments,
    releases,
    replacements,
    sites,
    surveys,
    volume_orders,
)
from deployments.services.replacements import NodeShared
from deployments.services.sites import NodeStays, VolumesStay
from deployments.services.volume_orders import NotConfirmed, VolumeExists, VolumeInUse, VolumeShrinks
from providers.idempotent import SETTLE_WINDOW_SECONDS
from providers.ports import ResourceKey
from providers.testing.harnesses import HetznerHarness
from tests.callers import Registry
from tests.clouds import ACCOUNT, BY, CREDENTIALS, World
from timeline.models import Event

ONE_CLOUD = pytest.mark.parametrize("kind", [HetznerHarness], ids=["hetzner"])
COMPOSE = """x-sam-worker: true
services:
  web:
    image: 127.0.0.1:5000/shop/web:1
    volumes: ['data:/data']
volumes:
"""


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry()
    monkeypatch.setattr(admission.backends, "resolver", lambda **_: registry)
    return registry


def admission_of(environment: Environment, document: str) -> Any:
    return admission.admit(environment, compose.parse(document.encode()), missing_is_fault=True)


# Servers and volumes


def test_everything_carries_installation_environment_and_resource(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    (server,) = world.cloud().servers.values()
    (volume,) = world.cloud().volumes.values()
    for kept, name in ((server, "node"), (volume, "data")):
        key = ResourceKey(accounts.installation(), str(environment.pk), name)
        assert key.labels().items() <= dict(kept.labels).items()


def test_poll_seconds_never_shortens_the_settle_window(world: World) -> None:
    world.account("quick", poll_seconds="0.01")
    environment = world.environment("quick", account="quick")
    world.harness.inject("lost", "create_server")
    release = world.release(environment)
    world.run(environment, lambda: world.waiting(release).get("code") == "provider.outcome_unknown")
    node = world.node(environment)
    assert node.retry_at is not None
    assert (node.retry_at - timezone.now()).total_seconds() > SETTLE_WINDOW_SECONDS - 5


def test_poll_seconds_shortens_polling(world: World) -> None:
    world.account("quick", poll_seconds="0.05")
    environment = world.environment("quick", account="quick")
    world.release(environment)
    world.advance(environment)
    node = world.node(environment)
    assert node.poll_after is not None
    assert (node.poll_after - timezone.now()).total_seconds() < 1


def test_a_boot_s_deadline_is_looked_at_when_it_comes(world: World) -> None:
    world.account("hasty", boot_deadline_seconds="10")
    environment = world.environment("hasty", account="hasty")
    world.release(environment)
    world.run(environment, lambda: world.node(environment).state == "booting")
    environment.refresh_from_db()
    assert environment.retry_at == world.node(environment).boot_deadline_at


def test_a_node_that_could_never_call_home_is_not_paid_for(world: World) -> None:
    """A loopback address is an error, except where the cloud itself is on loopback: then it is a warning."""
    given = {**world.options, "api_url": "https://api.example.com"}
    accounts.create(name="far", slug=world.slug, options=given, credentials=CREDENTIALS[type(world.harness)])
    environment = world.environment("far", account="far")
    release = world.release(environment)
    world.advance(environment)
    assert world.status(release) == "failed"
    assert release.evidence["code"] == "node.control_url"
    near = world.environment("near")
    world.release(near)
    world.advance(near)
    assert Event.objects.filter(kind="node:unreachable_address", severity="warning").exists()


# Sizes of volumes


def test_a_larger_size_grows_the_volume_and_the_payload_says_so(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    world.live(environment, world.release(environment, data=25))
    row = world.volume(environment)
    assert (row.size_gb, row.state) == (25, "attached")
    assert row.device_serial
    (volume_id,) = world.volumes(environment)
    assert world.cloud().volumes[volume_id].size_gb == 25


def test_a_smaller_size_is_a_problem_at_its_pointer_with_its_fix(
    world: World, environment: Environment, registry: Registry
) -> None:
    world.live(environment, world.release(environment, data=25))
    with pytest.raises(InvalidSubmission) as refused:
        admission_of(environment, COMPOSE + "  data: {x-sam-size-gb: 20}\n")
    (problem,) = refused.value.problems
    assert problem.code == "volume.shrinks"
    assert problem.pointer == "/volumes/data/x-sam-size-gb"
    assert problem.line == 7
    assert problem.fix is not None
    assert [edit.as_json() for edit in problem.fix] == [{"op": "replace", "pointer": problem.pointer, "value": 25}]
    for enough in ("  data: {x-sam-size-gb: 25}\n", "  data: {}\n", "  data:\n"):
        assert admission_of(environment, COMPOSE + enough).manifest


@ONE_CLOUD
def test_more_volumes_than_a_server_takes_are_refused_before_any_request(
    world: World, environment: Environment, registry: Registry
) -> None:
    """F15 and F16."""
    asked = list(world.harness.fake.calls)
    names = "".join(f"  v{number}: {{}}\n" for number in range(17))
    with pytest.raises(InvalidSubmission) as refused:
        admission_of(environment, COMPOSE + "  data: {x-sam-size-gb: 900}\n" + names)
    codes = {problem.code: problem.pointer for problem in refused.value.problems}
    assert codes["volume.too_many"] == "/volumes"
    assert world.harness.fake.calls == asked


def test_a_volume_that_is_no_longer_declared_is_detached_and_kept(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10, more=10))
    release = world.release(environment, data=10)
    world.run(environment, lambda: world.status(release) == "offered")
    assert world.volume(environment, "more").state == "attached"
    world.live(environment, release)
    world.run(environment, lambda: world.volume(environment, "more").state == "available")
    assert world.volume(environment).state == "attached"
    assert len(world.volumes(environment)) == 2
    world.live(environment, world.release(environment, data=10, more=10))
    assert world.volume(environment, "more").state == "attached"
    assert world.created("create_volume") == 2


def test_a_volume_counts_as_formatted_once_a_live_release_has_mounted_it(
    world: World, environment: Environment
) -> None:
    release = world.release(environment, data=10)
    world.run(environment, lambda: world.volume(environment).state == "attached")
    assert not world.volume(environment).ever_formatted
    world.live(environment, release)
    assert world.volume(environment).ever_formatted


def test_a_volume_detached_by_hand_is_attached_again_for_the_release_that_declares_it(
    world: World, environment: Environment
) -> None:
    """Recorded as attached, and was not."""
    world.live(environment, world.release(environment, data=10))
    row = world.volume(environment)
    world.harness.settle(world.harness.provider.detach_volume(row.volume_id).pending)
    world.survey()
    world.run(environment, lambda: world.cloud().volumes[row.volume_id].server_ids)
    world.run(environment, lambda: world.volume(environment).state == "attached")
    assert Event.objects.filter(data__code="volume.detached").exists()


def test_volumes_are_ordered_grown_and_deleted_by_name(world: World, environment: Environment) -> None:
    volume_orders.create(environment=environment, name="data", size_gb=20, by=BY)
    world.run(environment, lambda: world.volume(environment).state == "available")
    with pytest.raises(VolumeExists):
        volume_orders.create(environment=environment, name="Data", size_gb=None, by=BY)
    world.live(environment, world.release(environment, data=None))
    assert world.created("create_volume") == 1
    volume_orders.resize(environment=environment, name="data", size_gb=30, by=BY)
    world.run(environment, lambda: world.volume(environment).size_gb == 30)
    with pytest.raises(VolumeShrinks):
        volume_orders.resize(environment=environment, name="data", size_gb=20, by=BY)
    with pytest.raises(NotConfirmed):
        volume_orders.delete(environment=environment, name="data", confirm="date", by=BY)
    with pytest.raises(VolumeInUse):
        volume_orders.delete(environment=environment, name="data", confirm="data", by=BY)
    world.stop(environment, "retire")
    volume_orders.delete(environment=environment, name="data", confirm="data", by=BY)
    world.run(environment, lambda: not environment.volumes.exclude(state="deleted").exists())
    assert world.harness.billed() == 0


def test_a_volume_is_ordered_within_the_policy(world: World, environment: Environment) -> None:
    environment.policy = {"max_volumes": 1, "max_volume_gb": 50}
    environment.save(update_fields=["policy"])
    for name, size in (("data", 51), ("data", 0), ("../etc", 10), ("", None)):
        with pytest.raises(InvalidValue):
            volume_orders.create(environment=environment, name=name, size_gb=size, by=BY)
    volume_orders.create(environment=environment, name="data", size_gb=50, by=BY)
    with pytest.raises(InvalidValue):
        volume_orders.create(environment=environment, name="more", size_gb=10, by=BY)


# Sites


def test_a_site_that_the_account_does_not_have_is_refused_where_it_is_chosen(world: World) -> None:
    with pytest.raises(InvalidValue, match="nowhere"):
        sites.choose(account=ACCOUNT, location="nowhere", size=world.harness.size)
    with pytest.raises(InvalidValue, match="tiny"):
        sites.choose(account=ACCOUNT, location=world.harness.location, size="tiny")
    site = sites.choose(account=ACCOUNT, location="", size="")
    assert site.location
    assert site.size


def test_a_price_is_shown_with_its_date_where_a_size_is_chosen(world: World) -> None:
    site = sites.choose(account=ACCOUNT, location=world.harness.location, size=world.harness.size)
    assert site.price is not None
    assert len(site.price.partition(".")[2]) >= 2
    assert site.as_json()["price"]["as_of"] == site.as_of
    assert f"{site.price} EUR a month without taxes, as the provider said at {site.as_of}" in site.lines()[0]


def test_an_account_that_cannot_be_asked_is_chosen_with_a_warning(world: World) -> None:
    world.harness.inject("html", "list_locations", times=9)
    world.harness.inject("html", "list_server_types", times=9)
    site = sites.choose(account=ACCOUNT, location=world.harness.location, size=world.harness.size)
    assert site.warnings


def test_a_change_of_location_with_volumes_is_refused(world: World, environment: Environment) -> None:
    """F14."""
    world.live(environment, world.release(environment, data=10))
    site = sites.choose(account=ACCOUNT, location=world.harness.other_location, size=world.harness.size)
    with pytest.raises(VolumesStay, match="data"):
        sites.move(environment=environment, to=site, by=BY)
    without = world.environment("without")
    world.live(without, world.release(without))
    world.account("second")
    with pytest.raises(NodeStays):
        sites.move(environment=without, to=sites.Site("second", site.location, site.size), by=BY)
    sites.move(environment=without, to=site, by=BY)
    (server_id,) = world.servers(without)
    assert world.cloud().servers[server_id].location == world.harness.location
    replacements.replace(environment=without, confirm="without", by=BY)
    world.machines.pop(str(without.pk))
    without.refresh_from_db()
    world.live(without, without.releases.order_by("-sequence")[0])
    (server_id,) = world.servers(without)
    assert world.cloud().servers[server_id].location == world.harness.other_location


def test_a_release_of_an_environment_that_was_moved_names_the_volume_that_stays(
    world: World, environment: Environment, registry: Registry
) -> None:
    """F14, whoever changed the row: the API is not asked for what cannot be."""
    world.live(environment, world.release(environment, data=10))
    environment.location = world.harness.other_location
    environment.save(update_fields=["location"])
    with pytest.raises(InvalidSubmission) as refused:
        admission_of(environment, COMPOSE + "  data: {}\n")
    assert [problem.code for problem in refused.value.problems] == ["volume.elsewhere"]


# Replacing


def test_a_replaced_node_can_neither_fetch_nor_report_and_its_volumes_move(
    world: World, environment: Environment
) -> None:
    live = world.live(environment, world.release(environment, data=10))
    old, volume = world.machines.pop(str(environment.pk)), world.volumes(environment)
    first = world.servers(environment)
    with pytest.raises(NotConfirmed):
        replacements.replace(environment=environment, confirm=None, by=BY)
    replacements.replace(environment=environment, confirm=environment.slug, by=BY)
    replacements.replace(environment=environment, confirm=environment.slug, by=BY)
    for answer in (old.fetch(environment.pk, live.sequence), old.report(environment.pk, live.sequence)):
        assert answer.status_code == 403
        assert answer.json()["code"] == "node.gone"
    seen = set()
    again = environment.releases.order_by("-sequence")[0]
    assert again.sequence == live.sequence + 1

    def has_another() -> bool:
        here = world.servers(environment)
        seen.add(len(here))
        return bool(here) and here != first

    world.run(environment, has_another)
    assert max(seen) == 1
    world.live(environment, again)
    assert world.volumes(environment) == volume
    assert world.status(live) == "superseded"
    environment.refresh_from_db()
    assert environment.generation == 2
    answer = old.fetch(environment.pk, again.sequence)
    assert answer.status_code == 403


def test_a_lost_node_is_replaced_for_the_release_that_waits(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    world.remove_by_hand(world.node(environment).server_id)
    world.machines.clear()
    world.survey()
    waiting = world.release(environment, data=10)
    world.advance(environment)
    assert world.waiting(waiting)["code"] == "node.lost"
    replacements.replace(environment=environment, confirm=None, by=BY)
    world.live(environment, waiting)
    assert environment.releases.count() == 2
    assert world.volume(environment).server_id == world.servers(environment)[0]


def test_what_was_with_a_lost_node_is_unknown(world: World, environment: Environment) -> None:
    release = world.release(environment)
    world.booted(environment)
    world.run(environment, lambda: world.status(release) == "offered")
    world.remove_by_hand(world.node(environment).server_id)
    world.survey()
    world.advance(environment)
    assert world.status(release) == "unknown"
    assert release.evidence["code"] == "node.lost"


def test_a_volume_is_made_anew_only_after_the_lost_one_was_given_up(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    world.harness.settle(world.harness.provider.detach_volume(world.volume(environment).volume_id).pending)
    world.remove_by_hand(world.volume(environment).volume_id)
    world.survey()
    waiting = world.release(environment, data=10)
    world.advance(environment)
    assert world.waiting(waiting)["code"] == "volume.lost"
    volume_orders.delete(environment=environment, name="data", confirm="data", by=BY)
    world.live(environment, waiting)
    assert world.volume(environment).state == "attached"


def test_a_server_that_the_provider_lists_again_is_lost_no_more(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment))
    node = world.node(environment)
    Node.objects.filter(pk=node.pk).update(state="lost", fault={"code": "node.lost", "message": "gone"})
    world.survey()
    assert world.node(environment).state == "unreachable"


def test_the_local_machine_is_not_replaced_for_one_environment(world: World, environment: Environment) -> None:
    Node.objects.create(account="local", shared=True, state="ready")
    environments_node = Node.objects.get(shared=True)
    Environment.objects.filter(pk=environment.pk).update(node=environments_node)
    with pytest.raises(NodeShared):
        replacements.replace(environment=environment, confirm=environment.slug, by=BY)


# What no row points to


def test_an_orphaned_server_is_reported_then_given_back_after_a_grace_and_a_volume_never(
    world: World, environment: Environment
) -> None:
    world.live(environment, world.release(environment, data=10))
    kept = set(world.cloud().servers) | set(world.cloud().volumes)
    key = ResourceKey(accounts.installation(), "00000000-0000-4000-8000-000000000000", "node")
    server = world.harness.seed_server(name=key.cloud_name(), labels=key.labels())
    volume = world.harness.seed_volume(name="sw-lonely", labels={**key.labels(), "resource": "data"})
    theirs = world.harness.seed_server(name="theirs", labels={"owner": "somebody"})
    world.survey()
    assert set(Orphan.objects.values_list("kind", "resource_id")) == {("server", server), ("volume", volume)}
    assert Event.objects.filter(kind="orphan:seen").count() == 2
    world.survey()
    assert server in world.cloud().servers
    world.wait(surveys.ORPHAN_GRACE_SECONDS + 1)
    for _ in range(3):
        world.survey()
    left = set(world.cloud().servers) | set(world.cloud().volumes)
    assert left == kept | {volume, theirs}
    assert Orphan.objects.get(kind="server").gone_at is not None
    assert Orphan.objects.get(kind="volume").gone_at is None


def test_a_server_whose_answer_is_still_awaited_is_no_orphan(world: World, environment: Environment) -> None:
    world.harness.inject("lost", "create_server")
    world.release(environment)
    world.advance(environment)
    world.survey()
    assert not Orphan.objects.exists()


def test_an_account_is_looked_through_at_its_pace(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment))
    assert surveys.due() == [ACCOUNT]
    surveys.survey(ACCOUNT)
    assert surveys.due() == []
    world.wait(surveys.EVERY_SECONDS + 1)
    assert surveys.due() == [ACCOUNT]


# Stopping


def test_a_lost_node_does_not_hold_up_a_stop(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    environments.stop(environment=environment, by=BY)
    world.advance(environment)
    assert world.node(environment).state == "draining"
    world.remove_by_hand(world.node(environment).server_id)
    world.survey()
    world.run(environment, lambda: world.state(environment) == "stopped")
    assert world.harness.billed() == 1
    assert environment.orders.get().status == "done"


def test_nobody_is_asked_for_a_server_that_no_release_waits_for(world: World, environment: Environment) -> None:
    world.harness.refuse("capacity", "create_server")
    release = world.release(environment)
    world.advance(environment)
    releases.cancel(release=release, by=BY)
    for _ in range(5):
        world.wait(400)
        world.advance(environment)
    assert world.servers(environment) == []
    world.live(environment, world.release(environment))


def test_another_site_is_tried_at_once_where_capacity_was_missing(world: World, environment: Environment) -> None:
    world.harness.refuse("capacity", "create_server", times=3)
    release = world.release(environment)
    for _ in range(3):
        world.advance(environment)
        world.pass_time(environment)
    assert world.waiting(release)["code"] == "provider.capacity"
    site = sites.choose(account=ACCOUNT, location=world.harness.other_location, size=world.harness.size)
    sites.move(environment=environment, to=site, by=BY)
    world.advance(environment)
    (server,) = world.cloud().servers.values()
    assert server.location == world.harness.other_location
    world.live(environment, release)


def test_a_release_cancelled_while_it_waits_leaves_the_node_for_the_next_one(
    world: World, environment: Environment
) -> None:
    release = world.release(environment, data=10)
    world.advance(environment)
    releases.cancel(release=release, by=BY)
    for _ in range(10):
        world.advance(environment)
        world.pass_time(environment)
    assert world.node(environment).state == "booting"
    world.live(environment, world.release(environment, data=10))
    assert len(world.servers(environment)) == 1
    assert Release.objects.filter(status="cancelled").count() == 1

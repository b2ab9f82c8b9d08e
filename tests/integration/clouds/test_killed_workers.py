"""A worker dies at each place between two commits, and the next one goes on: one server, one volume, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from deployments.models import Environment, Node
from deployments.services import attempts, environments, replacements, servers, volume_orders
from tests.clouds import BY, Deaths, Killed, World

PLACES_MAX = 60
Part = Callable[[World, Environment], None]


def nothing(world: World, environment: Environment) -> None:
    """The journey begins with an environment that has nothing."""


def up(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    assert world.node(environment).server_id == world.servers(environment)[0]


def down(world: World, environment: Environment) -> None:
    world.stop(environment)
    assert world.servers(environment) == []
    assert world.volume(environment).state == "available"
    assert world.harness.billed() == 1


def larger(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=30))
    (volume_id,) = world.volumes(environment)
    assert world.cloud().volumes[volume_id].size_gb == 30


def replaced(world: World, environment: Environment) -> None:
    first = world.node(environment)
    replacements.replace(environment=environment, confirm=environment.slug, by=BY)
    world.machines.clear()
    world.live(environment, environment.releases.order_by("-sequence")[0])
    assert world.node(environment).pk != first.pk


def deleted(world: World, environment: Environment) -> None:
    volume_orders.delete(environment=environment, name="data", confirm="data", by=BY)
    world.run(environment, lambda: not environment.volumes.exclude(state="deleted").exists())
    assert world.harness.billed() == 0


def up_and_down(world: World, environment: Environment) -> None:
    up(world, environment)
    down(world, environment)


def check(world: World, environment: Environment, deaths: Deaths) -> None:
    assert len(world.servers(environment)) <= 1, deaths.died
    assert len(world.volumes(environment)) <= 1, deaths.died
    assert all(len(kept.server_ids) <= 1 for kept in world.cloud().volumes.values()), deaths.died
    environment.refresh_from_db()
    assert environment.generation <= 2, deaths.died


def dies_before_it_records(world: World, environment: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider has answered, and nobody writes it down."""

    def dies(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(attempts, "_finish", dies)
        patch.setattr(servers, "_remember", dies)
        with pytest.raises(Killed):
            world.advance(environment)


def clear_away(world: World, environment: Environment) -> None:
    if world.state(environment) == "active":
        world.stop(environment, "retire")
    volumes = environment.volumes.exclude(state="deleted")
    for row in volumes:
        volume_orders.delete(environment=environment, name=row.name, confirm=row.name, by=BY)
    world.run(environment, lambda: not volumes.all().exists())


@pytest.mark.parametrize(
    ("before", "part", "places"),
    [(nothing, up, 12), (up, larger, 4), (up, down, 6), (up, replaced, 12), (up_and_down, deleted, 1)],
)
def test_a_worker_that_dies_anywhere_is_followed_by_one_that_goes_on(
    world: World, before: Part, part: Part, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One environment for each place to die at, until the part of the journey has none left."""
    for place in range(PLACES_MAX):
        environment = world.environment(f"e{place}")
        deaths = Deaths(at_place=place)
        before(world, environment)
        with monkeypatch.context() as patch:
            deaths.guard(patch)
            part(world, environment)
        check(world, environment, deaths)
        if not deaths.died:
            break
        clear_away(world, environment)
        assert world.harness.billed() == 0, deaths.died
    else:
        raise AssertionError("the journey has no end")
    assert place >= places


def test_a_server_is_known_though_its_maker_died_and_its_node_enrolled_meanwhile(
    world: World, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id was once lost that way: nobody could have given the server back."""
    world.release(environment)
    dies_before_it_records(world, environment, monkeypatch)
    assert world.node(environment).server_id == ""
    world.harness.advance(20)
    world.boot(environment)
    assert world.node(environment).state == "enrolled"
    world.wait(attempts.LEASE_SECONDS + 1)
    world.run(environment, lambda: world.node(environment).server_id)
    assert [world.node(environment).server_id] == world.servers(environment)
    world.stop(environment, "retire")
    assert world.servers(environment) == []


def test_a_stop_finds_the_server_of_a_dead_worker_by_its_key(
    world: World, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F2: killed before the id is saved, and nobody wants the server any more: it is not left behind."""
    world.release(environment)
    dies_before_it_records(world, environment, monkeypatch)
    assert world.node(environment).server_id == ""
    assert len(world.servers(environment)) == 1
    world.stop(environment)
    assert world.servers(environment) == []
    assert world.harness.billed() == 0


def test_a_dead_worker_s_server_that_is_listed_late_is_waited_for(
    world: World, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F2 and F5 at once: after the lease, what is not listed is asked for anew only when the window is over."""
    world.release(environment)
    world.harness.inject("create_lag", "create_server", polls=6)
    dies_before_it_records(world, environment, monkeypatch)
    world.wait(attempts.LEASE_SECONDS + 1)
    world.advance(environment)
    assert world.created() == 1
    world.harness.advance(6)
    world.live(environment, environment.releases.get())
    assert world.created() == 1


def test_a_lease_that_somebody_holds_is_left_alone(world: World, environment: Environment) -> None:
    world.release(environment)
    world.advance(environment)
    node = world.node(environment)
    calls = list(world.harness.fake.calls)
    Node.objects.filter(pk=node.pk).update(claimed_until=timezone.now() + timedelta(seconds=30))
    environments.stop(environment=environment, by=BY)
    world.advance(environment)
    assert world.harness.fake.calls == calls

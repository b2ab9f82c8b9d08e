"""From a first release to a live one, and back to nothing, at every cloud."""

from __future__ import annotations

from deployments.models import Environment
from deployments.services import environments
from tests.clouds import BY, World


def test_a_first_release_makes_one_server_and_its_volumes_and_becomes_live(
    world: World, environment: Environment
) -> None:
    release = world.release(environment, data=20, media=None)
    world.live(environment, release)
    assert len(world.servers(environment)) == 1
    assert len(world.volumes(environment)) == 2
    shown = world.shown(environment)
    node = world.node(environment)
    assert shown["placement"]["node"]["id"] == node.server_id == world.servers(environment)[0]
    assert shown["placement"]["node"]["provider"] == world.slug
    assert {each["name"]: (each["state"], each["size_gb"]) for each in shown["volumes"]} == {
        "data": ("attached", 20),
        "media": ("attached", 10),
    }
    assert {each["server"] for each in shown["volumes"]} == {node.server_id}
    assert {each["id"] for each in shown["volumes"]} == set(world.volumes(environment))


def test_a_volume_is_attached_as_soon_as_the_server_runs(world: World, environment: Environment) -> None:
    world.release(environment, data=10)
    world.run(environment, lambda: world.node(environment).state == "booting")
    world.run(environment, lambda: world.volume(environment).state == "attached")
    assert world.node(environment).state == "booting"


def test_stop_gives_the_server_back_and_start_brings_another_one_with_the_same_volume(
    world: World, environment: Environment
) -> None:
    world.live(environment, world.release(environment, data=10))
    first, volume = world.node(environment), world.volumes(environment)
    world.stop(environment)
    assert world.servers(environment) == []
    assert world.volumes(environment) == volume
    assert world.shown(environment)["volumes"][0]["state"] == "available"
    assert world.harness.billed() == 1
    environments.start(environment=environment, by=BY)
    release = environment.releases.order_by("-sequence")[0]
    world.live(environment, release)
    second = world.node(environment)
    assert second.pk != first.pk
    assert world.volumes(environment) == volume
    environment.refresh_from_db()
    assert environment.generation == 2
    assert environment.state == "active"


def test_retire_gives_everything_back_but_the_volumes(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    world.stop(environment, "retire")
    assert world.servers(environment) == []
    assert len(world.volumes(environment)) == 1
    assert world.harness.billed() == 1


def test_stop_does_not_wait_for_a_node_that_never_enrolled(world: World, environment: Environment) -> None:
    release = world.release(environment, data=10)
    world.run(environment, lambda: world.volume(environment).state == "attached")
    world.stop(environment)
    assert world.servers(environment) == []
    assert world.status(release) == "waiting"
    environments.start(environment=environment, by=BY)
    world.live(environment, release)
    assert len(world.servers(environment)) == 1


def test_stop_before_anything_was_asked_for_asks_for_nothing(world: World, environment: Environment) -> None:
    release = world.release(environment)
    world.stop(environment)
    assert world.created() == 0
    assert world.status(release) in ("accepted", "waiting")


def test_a_server_that_owns_volumes_takes_them_along(world: World, environment: Environment) -> None:
    """F24: what comes with a server is paid for on its own, and goes with it."""
    world.live(environment, world.release(environment))
    world.stop(environment)
    assert world.harness.billed() == 0

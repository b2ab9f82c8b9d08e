"""Scaleway's stand-in against recorded answers, and the adapter on the recordings themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from providers import scaleway_values, scaleway_zones
from providers.ports import ServerState, VolumeState
from providers.scaleway import ScalewayProvider
from providers.testing import fake_scaleway
from providers.testing.harnesses import ScalewayHarness
from providers.testing.recordings import Exchange, Replay, exchanges, objects
from providers.testing.vendor_data import directory


def recorded() -> list[Exchange]:
    """Those of the CLI, and those inside the SDK's own package."""
    own = Path(str(files("scaleway.instance.v1").joinpath("tests/cassettes")))
    cassettes = [*sorted(directory("scaleway").glob("*.yaml")), *sorted(own.glob("*.yaml"))]
    return [exchange for cassette in cassettes for exchange in exchanges(cassette)]


def is_server(value: dict[str, Any]) -> bool:
    return {"commercial_type", "volumes", "state"} <= set(value)


def is_volume(value: dict[str, Any]) -> bool:
    return {"references", "specs", "status"} <= set(value)


def is_reference(value: dict[str, Any]) -> bool:
    return "product_resource_id" in value


def is_task(value: dict[str, Any]) -> bool:
    return "href_result" in value


def is_local_image(value: dict[str, Any]) -> bool:
    return "compatible_commercial_types" in value


def is_size(value: dict[str, Any]) -> bool:
    return "per_volume_constraint" in value


def is_error(value: dict[str, Any]) -> bool:
    return value.get("type") == "not_found"


KINDS = {
    "server": is_server,
    "volume": is_volume,
    "reference": is_reference,
    "task": is_task,
    "local image": is_local_image,
    "size": is_size,
    "error": is_error,
}


@pytest.fixture
def harness() -> Iterator[ScalewayHarness]:
    harness = ScalewayHarness()
    yield harness
    harness.close()


def answers_of_the_fake(harness: ScalewayHarness, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What it says in a whole life: made, attached, grown, detached, deleted, asked for again."""
    said: list[Any] = []
    serve = harness.fake.serve

    def listening(call: str, request: Any) -> Any:
        response = serve(call, request)
        if response.body:
            said.append(json.loads(response.body))
        return response

    monkeypatch.setattr(harness.fake, "serve", listening)
    volume, server = harness.attached()
    harness.settle(harness.provider.resize_volume(volume.id, volume.size_gb + 1).pending)
    harness.settle(harness.provider.detach_volume(volume.id).pending)
    harness.settle(harness.provider.delete_server(server.id))
    harness.settle(harness.provider.delete_volume(volume.id))
    harness.provider.catalogue()
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_the_fake_answers_with_the_members_and_types_that_were_recorded(
    harness: ScalewayHarness, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real = [value for exchange in recorded() for value in objects(exchange.json()) if KINDS[kind](value)]
    ours = [
        value for said in answers_of_the_fake(harness, monkeypatch) for value in objects(said) if KINDS[kind](value)
    ]
    assert real
    assert ours

    always = set.intersection(*(set(value) for value in real))
    ever = set.union(*(set(value) for value in real))
    types: dict[str, set[str]] = {name: {type(value.get(name)).__name__ for value in real} for name in ever}
    for value in ours:
        assert always <= set(value) <= ever
        for name, member in value.items():
            # A null that was never recorded otherwise says nothing of the type.
            known = types[name] | {"NoneType"}
            assert type(member).__name__ in known or known == {"NoneType"}, name


def test_every_recorded_state_is_known_to_the_adapter(harness: ScalewayHarness) -> None:
    values = [value for exchange in recorded() for value in objects(exchange.json())]
    servers = {str(value["state"]) for value in values if is_server(value)}
    volumes = {str(value["status"]) for value in values if is_volume(value)}
    references = {str(value["status"]) for value in values if is_reference(value)}

    assert all(scaleway_values.STATES.get(state) for state in servers)
    assert volumes <= {"creating", "available", "in_use", "updating", "resizing", "deleting", "deleted", "error"}
    assert references <= {"attaching", "attached", "detaching"}


def test_statuses_of_the_fake_are_those_recorded() -> None:
    """The surprising ones: a volume is made with 200, an action answered with 202, user data and deletions with 204."""
    seen = {(e.method, e.path.rsplit("/", 1)[-1] if e.action else _shape(e.path)): e.status for e in recorded()}

    assert seen["POST", "/block/v1/zones/Z/volumes"] == 200
    assert seen["POST", "action"] == 202
    assert seen["PATCH", "/instance/v1/zones/Z/servers/I/user_data/K"] == 204
    assert seen["DELETE", "/block/v1/zones/Z/volumes/I"] == 204


def _shape(path: str) -> str:
    parts = path.split("/")
    for index, part in enumerate(parts):
        if index and parts[index - 1] in ("zones", "servers", "volumes", "user_data"):
            parts[index] = {"zones": "Z", "user_data": "K"}.get(parts[index - 1], "I")
        elif len(part) == 36:
            parts[index] = "I"
    return "/".join(parts)


@pytest.fixture
def replayed(request: pytest.FixtureRequest) -> Iterator[tuple[ScalewayProvider, Replay]]:
    replay = Replay(directory("scaleway") / f"{request.param}.cassette.yaml")
    credentials = {
        "access_key": fake_scaleway.ACCESS_KEY,
        "secret_key": fake_scaleway.SECRET_KEY,
        "project_id": "fa1e3217-dc80-42ac-85c3-3f034b78b552",
    }
    scaleway_zones._SEEN.clear()
    provider = ScalewayProvider({"api_url": replay.url, "zones": "fr-par-1", "poll_seconds": "0.01"}, credentials)
    yield provider, replay
    replay.close()


@pytest.mark.parametrize("replayed", ["test-server-terminate-with-block"], indirect=True)
def test_a_recorded_detachment_and_termination_are_followed_to_their_end(
    replayed: tuple[ScalewayProvider, Replay],
) -> None:
    """F11, F24, as it really went."""
    provider, replay = replayed
    volume_id, server_id = "dd06ebd7-8dc4-4e0c-8e76-6d4277bea5a5", "9e858e94-9b0f-4a2e-9f54-40437bd3ff05"
    assert provider.get_volume(volume_id).state is VolumeState.CREATING
    attached = provider.get_volume(volume_id)
    assert (attached.state, attached.server_id, attached.size_gb) == (VolumeState.ATTACHED, server_id, 10)
    while provider.get_server(server_id).state is not ServerState.RUNNING:
        pass

    states = []
    detaching = provider.detach_volume(volume_id).pending
    while detaching is not None:
        states.append(detaching)
        detaching = provider.poll(detaching)
    assert len(states) >= 5

    deleting = provider.delete_server(server_id)
    for _ in range(100):
        if deleting is None:
            break
        deleting = provider.poll(deleting)
    assert deleting is None
    assert f"POST /instance/v1/zones/fr-par-1/servers/{server_id}/action" in replay.asked
    assert replay.missed == []


@pytest.mark.parametrize("replayed", ["test-server-volume-update-attach-simple-block-volume"], indirect=True)
def test_a_recorded_attachment_is_followed_to_its_end(replayed: tuple[ScalewayProvider, Replay]) -> None:
    provider, replay = replayed
    volume_id, server_id = "34d6fbac-c841-4683-a660-ca186ed49097", "543991f8-09c3-4b43-9e7a-8711217ae56c"
    assert provider.get_volume(volume_id).state is VolumeState.CREATING

    pending = provider.attach_volume(volume_id, server_id).pending
    for _ in range(100):
        if pending is None:
            break
        pending = provider.poll(pending)

    assert replay.missed == []
    assert provider.get_server(server_id).owned_volume_ids == ("e432af84-ece2-4238-b9d9-b30344e6e784",)

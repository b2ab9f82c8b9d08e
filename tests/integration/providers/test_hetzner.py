"""What only Hetzner Cloud does: unique names, actions and their failures, a key for every server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest

from providers.errors import (
    Busy,
    LimitExceeded,
    NameTaken,
    OperationFailed,
    OutcomeUnknown,
    PreconditionFailed,
    RateLimited,
    SpecMismatch,
    Unavailable,
)
from providers.hetzner_fence import Fence
from providers.ports import ServerState, VolumeState
from providers.testing.fake_hetzner import DIFFERENCES
from providers.testing.harnesses import HetznerHarness
from providers.testing.openapi import Description
from providers.testing.vendor_data import directory


@pytest.fixture
def harness() -> Iterator[HetznerHarness]:
    harness = HetznerHarness()
    yield harness
    harness.close()


def test_two_workers_that_create_the_same_key_at_once_get_one_server(harness: HetznerHarness) -> None:
    """F3: the second finds nothing, is refused by the name, and adopts."""
    harness.inject("create_lag", "create_server", polls=1)
    first = harness.provider.create_server(harness.server_spec())

    second = harness.rebuilt_provider().create_server(harness.server_spec())

    assert harness.writes().count("create_server") == 2
    assert second.value.id == first.value.id
    assert len(harness.cloud().servers) == 1


def test_ten_workers_in_a_race_get_one_volume(harness: HetznerHarness) -> None:
    """F3."""
    ids: list[str] = []
    gate = threading.Barrier(10)

    def work() -> None:
        provider = harness.rebuilt_provider()
        gate.wait()
        ids.append(provider.create_volume(harness.volume_spec()).value.id)

    workers = [threading.Thread(target=work) for _ in range(10)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert len(ids) == 10
    assert set(ids) == set(harness.cloud().volumes)
    assert len(set(ids)) == 1


@pytest.mark.parametrize("labels", [{}, {"team": "web"}, {"managed-by": "sam", "installation": "another"}])
def test_a_foreign_resource_with_our_name_is_neither_adopted_nor_deleted(
    harness: HetznerHarness, labels: dict[str, str]
) -> None:
    """F4."""
    server = harness.seed_server(name=harness.key().cloud_name(), labels=labels)
    volume = harness.seed_volume(name=harness.key("data").cloud_name(), labels=labels)
    before = harness.cloud()

    with pytest.raises(NameTaken):
        harness.provider.create_server(harness.server_spec())
    with pytest.raises(NameTaken):
        harness.provider.create_volume(harness.volume_spec())

    assert harness.cloud() == before
    assert (server in before.servers, volume in before.volumes) == (True, True)


def test_a_server_that_is_adopted_by_name_must_match_too(harness: HetznerHarness) -> None:
    """F4, in a race with another size."""
    harness.inject("create_lag", "create_server", polls=1)
    harness.provider.create_server(harness.server_spec())

    with pytest.raises(SpecMismatch):
        harness.rebuilt_provider().create_server(harness.server_spec(size=harness.other_size))


def test_a_rate_limit_says_when_to_come_again(harness: HetznerHarness) -> None:
    """F6: from RateLimit-Reset, which the SDK does not show."""
    harness.clock.now = time.time()
    harness.refuse("rate", "list_servers")

    with pytest.raises(RateLimited) as refused:
        harness.provider.list_servers(installation="any")

    assert refused.value.retry_after_seconds is not None
    assert 20 <= refused.value.retry_after_seconds <= 31


def test_the_clouds_hourly_limit_is_met_and_passes(harness: HetznerHarness) -> None:
    """F6: 3,600 requests, one more each second."""
    harness.fake._budget = 1
    harness.provider.list_servers(installation="any")

    with pytest.raises(RateLimited):
        harness.provider.list_servers(installation="any")
    harness.fake.move_clock(2)
    harness.provider.list_servers(installation="any")


def test_an_address_without_a_version_is_given_the_one_there_is(harness: HetznerHarness) -> None:
    bare = harness.rebuilt_provider(api_url=harness.fake.url)

    assert bare.list_servers(installation="any") == []


def test_an_attachment_that_failed_at_a_locked_server_is_busy(harness: HetznerHarness) -> None:
    """F8."""
    server, volume = harness.server(), harness.volume()
    harness.inject("action_error", "attach_volume", code="action_failed", message="Server is LOCKED by another action")

    outcome = harness.provider.attach_volume(volume.id, server.id)

    with pytest.raises(Busy):
        harness.settle(outcome.pending)
    harness.settle(harness.provider.attach_volume(volume.id, server.id).pending)
    assert harness.cloud().volumes[volume.id].server_ids == (server.id,)


def test_an_attachment_that_failed_and_is_there_all_the_same_has_succeeded(harness: HetznerHarness) -> None:
    """F8."""
    server, volume = harness.server(), harness.volume()
    harness.inject("action_error", "attach_volume", code="action_failed", message="server is locked", done=True)

    harness.settle(harness.provider.attach_volume(volume.id, server.id).pending)

    assert harness.provider.get_volume(volume.id).state is VolumeState.ATTACHED


def test_a_server_whose_start_fails_is_never_called_running(harness: HetznerHarness) -> None:
    """F9: it is off, billed, and the caller knows its id; asking again does not make it better, replacing it does."""
    harness.inject("action_error", "start_server", code="server_error", message="no hypervisor")

    outcome = harness.provider.create_server(harness.server_spec())
    with pytest.raises(OperationFailed) as failed:
        harness.settle(outcome.pending)
    assert failed.value.resource_id == outcome.value.id
    assert "no hypervisor" in failed.value.message
    assert harness.provider.get_server(outcome.value.id).state is ServerState.STOPPED

    again = harness.provider.create_server(harness.server_spec())
    assert again.value.id == outcome.value.id
    with pytest.raises(OperationFailed):
        harness.settle(again.pending)

    harness.settle(harness.provider.delete_server(outcome.value.id))
    assert harness.server().state is ServerState.RUNNING


def test_a_stuck_attachment_becomes_overdue_and_is_not_repeated(harness: HetznerHarness) -> None:
    """F10: no second attach, no blind detach."""
    server, volume = harness.server(), harness.volume()
    harness.inject("action_stuck", "attach_volume")
    pending = harness.provider.attach_volume(volume.id, server.id).pending
    assert pending is not None
    harness.clock.now += 301

    overdue = harness.provider.poll(pending)

    assert overdue is not None
    assert f"attaching volume {volume.id} to server {server.id} should have ended by" in overdue.overdue
    assert harness.provider.attach_volume(volume.id, server.id).pending is not None
    with pytest.raises(Busy):
        harness.provider.detach_volume(volume.id)
    assert harness.writes().count("attach_volume") == 1
    assert "detach_volume" not in harness.writes()


def test_one_volume_too_many_is_also_understood_when_the_cloud_says_so(harness: HetznerHarness) -> None:
    """F15."""
    server, volume = harness.server(), harness.volume()
    for word in ("limit", "quota"):
        harness.refuse(word, "attach_volume")
        with pytest.raises(LimitExceeded):
            harness.provider.attach_volume(volume.id, server.id)


@pytest.mark.parametrize(
    "command", ["create_server", "start_server", "create_volume", "attach_volume", "delete_server"]
)
def test_an_action_that_the_cloud_forgot_is_told_by_the_resource(harness: HetznerHarness, command: str) -> None:
    """F29."""
    harness.inject("action_forgotten", command)

    volume, server = harness.attached()
    assert (volume.state, server.state) == (VolumeState.ATTACHED, ServerState.RUNNING)
    harness.settle(harness.provider.detach_volume(volume.id).pending)
    harness.settle(harness.provider.delete_server(server.id))
    assert harness.cloud().servers == {}


def test_every_server_has_a_key_so_that_no_root_password_is_made(harness: HetznerHarness) -> None:
    """F31: one throwaway key per installation, labelled as ours."""
    harness.server("one")
    harness.server("two")

    (key,) = harness.fake.ssh_keys.values()
    assert key["public_key"].startswith("ssh-ed25519 ")
    assert key["labels"]["managed-by"] == "sam"


def test_a_key_whose_making_is_in_doubt_makes_no_server_unknown(harness: HetznerHarness) -> None:
    harness.inject("lost", "create_ssh_key")

    with pytest.raises(Unavailable):
        harness.provider.create_server(harness.server_spec())

    assert harness.server().state is ServerState.RUNNING
    assert len(harness.fake.ssh_keys) == 1


@pytest.mark.parametrize("fault", ["html", "hang"])
def test_the_sdk_sends_no_write_twice(harness: HetznerHarness, fault: str) -> None:
    """As delivered it would, five times, asleep in between."""
    harness.provider = harness.rebuilt_provider(request_timeout_seconds="0.3")
    harness.inject(fault, "create_volume", times=6, seconds=1)
    began = time.monotonic()

    with pytest.raises(OutcomeUnknown):
        harness.provider.create_volume(harness.volume_spec())

    assert harness.writes() == ["create_volume"]
    assert time.monotonic() - began < 2


def test_the_sdk_still_has_the_switches_that_the_fence_turns() -> None:
    base = Fence(token="t" * 64, api_url="http://127.0.0.1:1/v1", timeout_seconds=1).client._client

    assert base._retry_max_retries == 0
    assert base._timeout == (1 / 3, 1)
    assert base._session.hooks["response"]


def test_the_answers_of_the_fake_are_really_held_against_the_description(harness: HetznerHarness) -> None:
    server = harness.fake.servers[int(harness.server().id)]
    described = Description(directory("hetzner") / "hcloud.json", dropped=DIFFERENCES)
    good = json.dumps({"server": server}).encode()
    bad = json.dumps({"server": {**server, "status": "asleep", "labels": None}}).encode()

    assert described.faults("GET", "/servers/1", 200, good) == []
    assert len(described.faults("GET", "/servers/1", 200, bad)) == 2
    assert described.faults("GET", "/servers/1", 302, good) == ["GET /servers/1 never answers 302"]
    assert described.faults("GET", "/horses", 200, b"{}") == ["GET /horses is not described"]


def test_the_differences_from_the_description_are_still_differences() -> None:
    raw = json.loads((directory("hetzner") / "hcloud.json").read_text())["components"]["schemas"]

    for name, members in DIFFERENCES.items():
        assert set(members) <= set(raw[name]["required"])
    assert "available" not in raw["server_type_location"]["properties"]


def test_deleting_a_volume_that_the_cloud_protects_is_refused(harness: HetznerHarness) -> None:
    """F18."""
    volume = harness.volume()
    harness.fake.volumes[int(volume.id)]["protection"]["delete"] = True

    with pytest.raises(PreconditionFailed):
        harness.provider.delete_volume(volume.id)

    assert list(harness.cloud().volumes) == [volume.id]

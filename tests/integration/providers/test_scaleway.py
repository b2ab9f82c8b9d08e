"""What only Scaleway does: names that are not unique, servers made in three writes, roots that outlive them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers import scaleway, scaleway_zones
from providers.errors import (
    Busy,
    InvalidRequest,
    LimitExceeded,
    OperationFailed,
    OutcomeUnknown,
    PreconditionFailed,
    RateLimited,
)
from providers.idempotent import find_volumes
from providers.ports import ServerState, VolumeConstraints, VolumeState
from providers.testing.harnesses import ENVIRONMENT, INSTALLATION, USER_DATA, ScalewayHarness


@pytest.fixture
def harness() -> Iterator[ScalewayHarness]:
    harness = ScalewayHarness()
    yield harness
    harness.close()


def test_of_two_servers_made_at_once_the_older_counts_and_the_other_is_given_back(harness: ScalewayHarness) -> None:
    """F3: ours was never powered on, so nothing is lost with it, and its root volume goes too."""
    harness.inject("rival", "create_server")

    outcome = harness.provider.create_server(harness.server_spec())
    assert outcome.surplus
    harness.settle(outcome.pending)

    assert harness.cloud().servers_of(harness.key()) == [outcome.value.id]
    assert outcome.value.id not in outcome.surplus
    assert harness.user_data_at_boot(outcome.value.id) == USER_DATA
    assert len(harness.fake.volumes) == 1


def test_of_two_volumes_made_at_once_the_older_counts_and_the_other_is_deleted(harness: ScalewayHarness) -> None:
    """F3."""
    harness.inject("rival", "create_volume")

    outcome = harness.provider.create_volume(harness.volume_spec())
    harness.settle(outcome.pending)

    assert harness.cloud().volumes_of(harness.key("data")) == [outcome.value.id]


def test_of_two_servers_that_both_ran_the_older_is_answered_and_the_other_named(harness: ScalewayHarness) -> None:
    """F3: a foreign hand copied the tags; nothing that ran is deleted by us."""
    mine = harness.server()
    copy = harness.seed_server(name="copy", labels=harness.key().labels())

    outcome = harness.provider.create_server(harness.server_spec())

    assert (outcome.value.id, outcome.surplus) == (mine.id, (copy,))
    assert len(harness.cloud().servers) == 2


@pytest.mark.parametrize(
    "call", ["list_servers", "get_volume", "create_volume", "attach_volume", "set_user_data", "poweron"]
)
def test_a_429_without_body_or_header_is_a_rate_limit_without_a_time(harness: ScalewayHarness, call: str) -> None:
    """F6, as recorded. After a server was made it is waited for like an unknown outcome, so that it is found."""
    server, volume = harness.server("another"), harness.volume("another-volume")
    harness.inject("empty_429", call)

    with pytest.raises((RateLimited, OutcomeUnknown)) as refused:
        harness.provider.attach_volume(volume.id, server.id)
        harness.provider.list_servers(installation=INSTALLATION)
        harness.provider.create_server(harness.server_spec())
        harness.provider.create_volume(harness.volume_spec())

    assert isinstance(refused.value, OutcomeUnknown) == (call in ("set_user_data", "poweron"))
    if isinstance(refused.value, RateLimited):
        assert refused.value.retry_after_seconds is None
    assert harness.server().state is ServerState.RUNNING
    assert len(harness.cloud().servers_of(harness.key())) == 1


def test_a_stuck_attachment_becomes_overdue_and_is_not_repeated(harness: ScalewayHarness) -> None:
    """F10: no second attach, no blind detach."""
    server, volume = harness.server(), harness.volume()
    harness.inject("stuck", "attach_volume")
    pending = harness.provider.attach_volume(volume.id, server.id).pending
    assert pending is not None
    harness.clock.now += 301

    overdue = harness.provider.poll(pending)

    assert overdue is not None
    assert "should have ended by" in overdue.overdue
    assert "in_use" in overdue.overdue
    assert harness.provider.get_volume(volume.id).state is VolumeState.ATTACHING
    assert harness.provider.attach_volume(volume.id, server.id).pending is not None
    with pytest.raises(Busy):
        harness.provider.detach_volume(volume.id)
    assert harness.writes().count("attach_volume") == 1
    assert "detach_volume" not in harness.writes()


def test_a_volume_that_is_still_detaching_is_not_called_available(harness: ScalewayHarness) -> None:
    """F11: the instance forgets it at once, the volume itself fifteen polls later."""
    volume, server = harness.attached()
    harness.inject("slow", "detach_volume", polls=15)

    pending = harness.provider.detach_volume(volume.id).pending

    assert harness.provider.get_server(server.id).attached_volume_ids == ()
    assert harness.provider.get_volume(volume.id).state is VolumeState.DETACHING
    for early in (
        lambda: harness.provider.attach_volume(volume.id, server.id),
        lambda: harness.provider.delete_volume(volume.id),
    ):
        with pytest.raises(Busy):
            early()
    polls = 0
    while pending is not None:
        pending = harness.provider.poll(pending)
        polls += 1
    assert polls >= 10
    assert harness.provider.get_volume(volume.id).state is VolumeState.AVAILABLE


def test_one_volume_too_many_is_also_understood_when_the_cloud_says_so(
    harness: ScalewayHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F15: with our own check out of the way."""
    monkeypatch.setattr(scaleway, "VOLUMES", VolumeConstraints(min_gb=5, max_gb=10_000, max_attached_per_server=99))
    server = harness.server()
    for number in range(15):
        volume = harness.volume(f"v{number}")
        harness.settle(harness.provider.attach_volume(volume.id, server.id).pending)

    with pytest.raises(LimitExceeded):
        harness.provider.attach_volume(harness.volume("too-many").id, server.id)


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_a_deleted_server_leaves_no_root_volume_behind(harness: ScalewayHarness, state: str) -> None:
    """F24."""
    server = harness.server()
    assert len(harness.fake.volumes) == 1
    harness.fake.servers[server.id].shown["state"] = state

    harness.settle(harness.provider.delete_server(server.id))

    assert harness.fake.servers == {}
    assert harness.fake.volumes == {}


def test_a_root_volume_whose_deletion_was_forgotten_is_found_by_its_recorded_id(harness: ScalewayHarness) -> None:
    """F24: the worker died after terminate, when the server shows no volumes any more."""
    server = harness.server()
    harness.provider.delete_server(server.id)
    assert harness.provider.get_server(server.id).owned_volume_ids == ()
    harness.advance(20)
    assert len(harness.fake.volumes) == 1

    revived = harness.rebuilt_provider().delete_server(server.id, owned_volume_ids=server.owned_volume_ids)
    harness.settle(revived)

    assert harness.fake.volumes == {}


def test_terminate_that_is_on_its_way_is_not_sent_again(harness: ScalewayHarness) -> None:
    server = harness.server()
    harness.inject("slow", "terminate", polls=10)

    harness.settle(harness.provider.delete_server(server.id))

    assert harness.writes().count("terminate") == 1


@pytest.mark.parametrize("fault", ["reset", "lost"])
@pytest.mark.parametrize("step", ["create_server", "set_user_data", "poweron"])
def test_a_crash_between_any_two_steps_is_resumed_with_the_user_data_first(
    harness: ScalewayHarness, step: str, fault: str
) -> None:
    """F30, F2."""
    harness.inject(fault, step)
    with pytest.raises(OutcomeUnknown) as unknown:
        harness.provider.create_server(harness.server_spec())
    if step != "create_server":
        assert unknown.value.resource_id in harness.cloud().servers
    harness.advance(30)

    server = harness.server()

    assert harness.user_data_at_boot(server.id) == USER_DATA
    assert len(harness.cloud().servers) == 1
    writes = harness.writes()
    assert writes.index("set_user_data") < writes.index("poweron")


def test_a_server_that_is_not_found_right_after_its_creation_is_not_made_again(harness: ScalewayHarness) -> None:
    """F5: user data is answered with 404 for a while; asking at once would find nothing and make a second one."""
    harness.inject("create_lag", "create_server", polls=12)

    with pytest.raises(OutcomeUnknown):
        harness.provider.create_server(harness.server_spec())
    harness.advance(30)

    assert harness.server().state is ServerState.RUNNING
    assert harness.writes().count("create_server") == 1


def test_a_server_that_was_powered_on_without_user_data_has_to_be_rebuilt(harness: ScalewayHarness) -> None:
    """F30: cloud-init runs once; the id is answered, so that the server can be given back."""
    blank = harness.server()
    harness.fake.servers[blank.id].user_data.clear()

    outcome = harness.provider.create_server(harness.server_spec())
    assert outcome.value.id == blank.id
    with pytest.raises(OperationFailed) as failed:
        harness.settle(outcome.pending)
    assert failed.value.resource_id == blank.id

    harness.settle(harness.provider.delete_server(blank.id))
    rebuilt = harness.server()
    assert harness.user_data_at_boot(rebuilt.id) == USER_DATA


def test_a_power_on_that_comes_to_nothing_is_a_failure_after_two_minutes(harness: ScalewayHarness) -> None:
    """F9, F22: accepted, and stopped again."""
    harness.inject("boot_fails", "poweron")
    pending = harness.provider.create_server(harness.server_spec()).pending
    assert pending is not None
    harness.advance(5)
    assert harness.provider.poll(pending) is not None
    harness.clock.now += 121

    with pytest.raises(OperationFailed):
        harness.provider.poll(pending)


def test_missing_capacity_at_power_on_leaves_a_server_that_is_tried_again(harness: ScalewayHarness) -> None:
    """F22."""
    harness.refuse("capacity", "poweron")
    with pytest.raises(scaleway.CapacityUnavailable) as refused:
        harness.provider.create_server(harness.server_spec())
    assert refused.value.resource_id in harness.cloud().servers

    assert harness.server().id == refused.value.resource_id


def test_a_volume_that_ends_in_error_is_a_failure(harness: ScalewayHarness) -> None:
    harness.inject("volume_error", "create_volume")
    outcome = harness.provider.create_volume(harness.volume_spec())

    with pytest.raises(OperationFailed) as failed:
        harness.settle(outcome.pending)

    assert failed.value.resource_id == outcome.value.id


def test_names_that_contain_ours_and_tags_in_part_are_not_ours(harness: ScalewayHarness) -> None:
    """Names are matched as substrings there, tags of volumes by OR."""
    key = harness.key("data")
    some = {name: value for name, value in key.labels().items() if name != "resource"}
    harness.seed_volume(name=key.cloud_name(), labels={"environment": ENVIRONMENT})
    harness.seed_volume(name=f"{key.cloud_name()}-2", labels=some)

    made = harness.volume()

    assert harness.cloud().volumes_of(key) == [made.id]
    assert [found.id for found in find_volumes(harness.provider, key)] == [made.id]


def test_another_worker_finds_a_resource_in_any_zone_by_its_id(harness: ScalewayHarness) -> None:
    outcome = harness.provider.create_server(harness.server_spec(location=harness.other_location))
    scaleway_zones._SEEN.clear()

    assert harness.rebuilt_provider().get_server(outcome.value.id).location == harness.other_location


def test_a_zone_that_the_account_does_not_use_is_refused_before_any_request(harness: ScalewayHarness) -> None:
    with pytest.raises(InvalidRequest):
        harness.provider.create_server(harness.server_spec(location="pl-waw-3"))

    assert harness.fake.calls == []


def test_an_image_that_does_not_exist_is_refused_by_name(harness: ScalewayHarness) -> None:
    with pytest.raises(InvalidRequest) as refused:
        harness.provider.create_server(harness.server_spec(image="debian_woody"))

    assert "image" in refused.value.fields
    assert harness.cloud().servers == {}


def test_a_detached_volume_that_the_instance_still_refuses_to_know_is_a_success(harness: ScalewayHarness) -> None:
    """F12: "is not attached to this server" is what was wanted."""
    volume, server = harness.attached()
    del harness.fake.servers[server.id].shown["volumes"]["1"]

    assert harness.provider.detach_volume(volume.id).pending is not None


def test_a_volume_whose_server_just_went_is_detached_and_not_called_lost(harness: ScalewayHarness) -> None:
    """F12, F28: the instance answers 404, the volume is in use a little longer."""
    volume, server = harness.attached()
    harness.provider.delete_server(server.id)
    harness.fake._remove_server(server.id, [volume.id])
    assert harness.provider.get_volume(volume.id).state is VolumeState.ATTACHED

    harness.settle(harness.provider.detach_volume(volume.id).pending)

    assert harness.provider.get_volume(volume.id).state is VolumeState.AVAILABLE


def test_a_volume_that_went_to_another_server_meanwhile_is_told(harness: ScalewayHarness) -> None:
    """F13."""
    server, other, volume = harness.server(), harness.server("node-2"), harness.volume()
    pending = harness.provider.attach_volume(volume.id, server.id).pending
    harness.fake.volumes[volume.id].shown["references"][0]["product_resource_id"] = other.id

    with pytest.raises(PreconditionFailed) as refused:
        harness.settle(pending)

    assert refused.value.in_use_by == other.id

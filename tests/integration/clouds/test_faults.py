"""The faults F1 to F31 of clouds, through the whole control plane: what rows and releases say, and what is paid for.

F26 is the node's (tests of nodeagent); the adapters' side of each fault is in the contract suite of the providers.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import pytest

from deployments.domain.manifest import VolumeSpec
from deployments.models import Environment, Node, Release
from deployments.services import accounts, attempts, environments, servers, surveys, volume_orders, volumes
from providers.errors import OutcomeUnknown
from providers.idempotent import SETTLE_WINDOW_SECONDS
from providers.testing.harnesses import HetznerHarness, ScalewayHarness
from tests.clouds import ACCOUNT, BY, CREDENTIALS, REFUSED_CREDENTIALS, World
from timeline.models import Event

ONLY_HETZNER = pytest.mark.parametrize("kind", [HetznerHarness], ids=["hetzner"])
ONLY_SCALEWAY = pytest.mark.parametrize("kind", [ScalewayHarness], ids=["scaleway"])
STUCK = {HetznerHarness: "action_stuck", ScalewayHarness: "stuck"}


def follow(world: World, release: Release, status: str) -> None:
    environment = Environment.objects.get(pk=release.environment_id)
    world.run(environment, lambda: world.status(release) == status)


def waits(world: World, release: Release, code: str) -> dict[str, Any]:
    """Advance until the release waits with this code; what it says then."""
    environment = Environment.objects.get(pk=release.environment_id)
    world.run(environment, lambda: world.waiting(release).get("code") == code)
    said = world.waiting(release)
    assert said.keys() == {"on", "code", "message", "since", "retry_at"}
    shown = world.shown(environment)["observed"]["provider"]
    assert (shown["code"], shown["summary"]) == (said["code"], said["message"])
    return said


# Creating: F1 to F5, F9, F19, F25, F29, F30


@pytest.mark.parametrize("fault", ["lost", "html_after", "truncated"])
def test_f1_and_f19_a_lost_answer_is_looked_for_by_key_after_the_settle_window(
    world: World, environment: Environment, fault: str
) -> None:
    world.harness.inject(fault, "create_server")
    release = world.release(environment)
    waits(world, release, OutcomeUnknown.code)
    asked = world.created()
    world.wait(SETTLE_WINDOW_SECONDS - 2)
    world.advance(environment)
    assert world.created() == asked
    world.live(environment, release)
    assert world.created() == asked == 1
    assert world.servers(environment) == [world.node(environment).server_id]


@pytest.mark.parametrize("fault", ["reset", "html", "hang"])
def test_f19_a_request_that_may_not_have_arrived_is_looked_for_too(
    world: World, environment: Environment, fault: str
) -> None:
    world.harness.inject(fault, "create_server", **({"seconds": 3} if fault == "hang" else {}))
    release = world.release(environment)
    waits(world, release, OutcomeUnknown.code)
    world.live(environment, release)
    assert len(world.servers(environment)) == 1


def test_f5_a_lost_answer_and_a_list_that_lags_make_no_second_server(world: World, environment: Environment) -> None:
    world.harness.inject("lost", "create_server")
    world.harness.inject("create_lag", "create_server", polls=18)
    release = world.release(environment)
    world.live(environment, release)
    assert world.created() == 1
    assert len(world.servers(environment)) == 1


def test_f1_and_f5_hold_for_volumes(world: World, environment: Environment) -> None:
    world.harness.inject("lost", "create_volume")
    world.harness.inject("create_lag", "create_volume", polls=12)
    world.live(environment, world.release(environment, data=10))
    assert world.created("create_volume") == 1
    assert world.volumes(environment) == [world.volume(environment).volume_id]


@ONLY_HETZNER
def test_f4_a_foreign_server_of_that_name_is_neither_adopted_nor_deleted(
    world: World, environment: Environment
) -> None:
    key = servers.key_of(environment, Node())
    foreign = world.harness.seed_server(name=key.cloud_name(), labels={"owner": "somebody"})
    release = world.release(environment)
    follow(world, release, "failed")
    assert release.evidence["code"] == "provider.name_taken"
    world.stop(environment, "retire")
    assert set(world.cloud().servers) == {foreign}


def test_f4_our_server_of_another_size_is_not_taken_silently(world: World, environment: Environment) -> None:
    key = servers.key_of(environment, Node())
    name = key.cloud_name()
    ours = world.harness.seed_server(name=name, labels=key.labels(), size=world.harness.other_size)
    release = world.release(environment)
    follow(world, release, "failed")
    assert release.evidence["code"] == "provider.spec_mismatch"
    assert set(world.cloud().servers) == {ours}


@ONLY_HETZNER
def test_f9_a_server_that_does_not_start_goes_before_another_one_is_made(
    world: World, environment: Environment
) -> None:
    world.harness.inject("action_error", "start_server", code="server_error", message="no hypervisor")
    release = world.release(environment)
    world.live(environment, release)
    assert world.created() == 2
    assert len(world.servers(environment)) == 1
    (told,) = Event.objects.filter(kind="node:creation_failed")
    assert "no hypervisor" in told.data["summary"]


@ONLY_HETZNER
def test_f9_servers_that_never_start_are_given_up_on(world: World, environment: Environment) -> None:
    fault = {"code": "server_error", "message": "no hypervisor"}
    world.harness.inject("action_error", "start_server", times=9, **fault)
    release = world.release(environment)
    follow(world, release, "failed")
    assert release.evidence["code"] == "provider.operation_failed"
    assert "no hypervisor" in release.evidence["summary"]
    assert world.created() == servers.MOST_SERVERS
    assert world.servers(environment) == []


@ONLY_SCALEWAY
def test_f9_a_power_on_that_comes_to_nothing_is_no_running_node(world: World, environment: Environment) -> None:
    world.harness.inject("boot_fails", "poweron")
    world.live(environment, world.release(environment))
    assert len(world.servers(environment)) == 1


def test_f25_a_server_without_an_address_is_no_obstacle(world: World, environment: Environment) -> None:
    """Both fakes answer the create without one."""
    world.live(environment, world.release(environment))


@ONLY_HETZNER
def test_f29_an_action_that_the_cloud_forgot_is_told_by_the_server_itself(
    world: World, environment: Environment
) -> None:
    world.harness.inject("action_forgotten", "create_server")
    world.harness.inject("action_forgotten", "start_server")
    world.live(environment, world.release(environment))
    assert world.created() == 1


@ONLY_SCALEWAY
@pytest.mark.parametrize("call", ["set_user_data", "server_action"])
def test_f30_no_server_is_powered_on_before_its_user_data_is_there(
    world: World, environment: Environment, call: str
) -> None:
    world.harness.faults.inject("reset", on=call)
    world.live(environment, world.release(environment))
    assert world.created() == 1
    (server_id,) = world.servers(environment)
    assert world.harness.user_data_at_boot(server_id)


# Refusals: F6, F7, F20 to F22


def test_f6_a_rate_limit_postpones_and_loses_nothing(world: World, environment: Environment) -> None:
    world.harness.refuse("rate", "create_server")
    release = world.release(environment)
    said = waits(world, release, "provider.rate_limited")
    assert said["retry_at"] is not None
    before = list(world.harness.fake.calls)
    world.advance(environment)
    assert world.harness.fake.calls == before
    world.live(environment, release)
    assert len(world.servers(environment)) == 1


@pytest.mark.parametrize("word", ["busy", "conflict"])
def test_f7_what_is_busy_is_asked_again_with_its_message_kept(
    world: World, environment: Environment, word: str
) -> None:
    world.harness.refuse(word, "attach_volume", times=2)
    release = world.release(environment, data=10)
    said = waits(world, release, "provider.busy")
    assert said["on"] == "volume"
    world.live(environment, release)


def test_f7_what_stays_busy_is_given_up_on_in_the_end(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment))
    world.harness.refuse("busy", "attach_volume", times=attempts.MOST_FAILURES)
    release = world.release(environment, data=10)
    follow(world, release, "failed")
    assert release.evidence["code"] == "provider.busy"
    world.live(environment, world.release(environment, data=10))


def test_f20_a_refused_credential_pauses_the_account_and_a_check_that_passes_goes_on(
    world: World, environment: Environment
) -> None:
    other = world.environment("other")
    release, waiting = world.release(environment), world.release(other)
    world.harness.refuse("auth", "create_server")
    waits(world, release, "provider.auth")
    asked = len(world.harness.fake.calls)
    said = waits(world, waiting, "provider.paused")
    assert "refused by order" in said["message"] or "denied" in said["message"]
    for _ in range(5):
        world.wait(400)
        world.advance(environment)
        world.advance(other)
        surveys.survey(ACCOUNT)
    assert len(world.harness.fake.calls) == asked
    assert accounts.check(ACCOUNT).report.passes
    for each in (release, waiting):
        place = Environment.objects.get(pk=each.environment_id)
        world.advance(place)
        assert len(world.servers(place)) == 1
        world.live(place, each)


def test_f20_a_credential_that_never_worked_pauses_and_a_failed_check_keeps_the_pause(world: World) -> None:
    world.account("broken", credentials=REFUSED_CREDENTIALS[type(world.harness)])
    environment = world.environment("elsewhere", account="broken")
    release = world.release(environment)
    waits(world, release, "provider.auth")
    checked = accounts.check("broken")
    assert not checked.report.passes
    assert checked.is_paused
    world.wait(400)
    waits(world, release, "provider.paused")
    assert CREDENTIALS


def test_f21_a_quota_fails_the_release_and_a_missing_right_pauses(world: World, environment: Environment) -> None:
    world.harness.refuse("quota", "create_server")
    release = world.release(environment)
    follow(world, release, "failed")
    assert release.evidence["code"] == "provider.quota"
    assert release.evidence["services"] == {}
    assert world.servers(environment) == []
    again = world.release(environment)
    world.live(environment, again)
    world.harness.refuse("forbidden", "create_server")
    other = world.environment("other")
    waits(world, world.release(other), "provider.auth")


def test_f21_a_quota_on_volumes_fails_the_release_as_well(world: World, environment: Environment) -> None:
    world.harness.refuse("quota", "create_volume")
    release = world.release(environment, data=10)
    follow(world, release, "failed")
    assert release.evidence["code"] == "provider.quota"
    world.live(environment, world.release(environment, data=10))


def test_f22_missing_capacity_keeps_it_waiting_with_backoff_and_changes_nothing_silently(
    world: World, environment: Environment
) -> None:
    world.harness.refuse("capacity", "create_server", times=4)
    release = world.release(environment)
    pauses = []
    for _ in range(4):
        said = waits(world, release, "provider.capacity")
        assert said["on"] == "node"
        assert said["message"]
        node = world.node(environment)
        assert node.retry_at is not None
        pauses.append((node.retry_at - attempts.timezone.now()).total_seconds())
        world.pass_time(environment)
        world.advance(environment)
    assert pauses == sorted(pauses)
    assert pauses[0] >= attempts.CAPACITY_PAUSE_SECONDS - 1
    world.live(environment, release)
    (server,) = world.cloud().servers.values()
    assert server.location == world.harness.location
    environment.refresh_from_db()
    assert (environment.location, environment.size) == (world.harness.location, world.harness.size)


# Attaching: F8, F10 to F15


@ONLY_HETZNER
@pytest.mark.parametrize("done", [True, False])
def test_f8_an_attachment_that_failed_as_locked_is_read_again(
    world: World, environment: Environment, done: bool
) -> None:
    locked = {"code": "action_failed", "message": "server is locked", "done": done}
    world.harness.inject("action_error", "attach_volume", **locked)
    world.live(environment, world.release(environment, data=10))
    assert world.harness.fake.calls.count("attach_volume") == (1 if done else 2)


def test_f10_a_stuck_attachment_is_told_as_overdue_and_never_repeated(world: World, environment: Environment) -> None:
    world.harness.inject(STUCK[type(world.harness)], "attach_volume")
    release = world.release(environment, data=10)
    said = waits(world, release, "volume.overdue")
    assert "should have ended by" in said["message"]
    for _ in range(10):
        world.pass_time(environment)
        world.advance(environment)
    assert world.harness.fake.calls.count("attach_volume") == 1
    assert world.harness.fake.calls.count("detach_volume") == 0
    assert world.volume(environment).state == "attaching"


@ONLY_SCALEWAY
def test_f11_a_detachment_that_takes_long_keeps_the_server_until_it_has_ended(
    world: World, environment: Environment
) -> None:
    world.live(environment, world.release(environment, data=10))
    world.harness.inject("slow", "detach_volume", polls=15)
    environments.stop(environment=environment, by=BY)
    world.advance(environment)
    order = environment.orders.get()
    world.report(environment, world.machines[str(environment.pk)], order.sequence)
    seen = set()

    def is_stopped() -> bool:
        state = world.volume(environment).state
        seen.add(state)
        if state == "detaching":
            assert world.servers(environment)
        return world.state(environment) == "stopped"

    world.run(environment, is_stopped)
    assert "detaching" in seen


def test_f12_what_is_so_already_is_asked_for_by_no_write(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    writes = world.harness.writes()
    for _ in range(5):
        world.wait(30)
        world.advance(environment)
        surveys.survey(ACCOUNT)
    world.live(environment, world.release(environment, data=10))
    assert world.harness.writes() == writes


def test_f13_a_volume_that_somebody_attached_elsewhere_is_never_taken_away(
    world: World, environment: Environment
) -> None:
    volume_orders.create(environment=environment, name="data", size_gb=None, by=BY)
    world.run(environment, lambda: world.volume(environment).state == "available")
    foreign = world.harness.seed_server(name="theirs", labels={})
    volume = world.volume(environment)
    world.harness.settle(world.harness.provider.attach_volume(volume.volume_id, foreign).pending)
    release = world.release(environment, data=10)
    follow(world, release, "failed")
    assert release.evidence["code"] == "provider.precondition"
    assert foreign in release.evidence["summary"]
    assert world.cloud().volumes[volume.volume_id].server_ids == (foreign,)


def test_f15_a_server_that_is_full_fails_the_release_with_the_limit(world: World, environment: Environment) -> None:
    release = world.release(environment, data=10)
    world.run(environment, lambda: world.node(environment).state == "booting")
    most = world.harness.provider.capabilities.volumes.max_attached_per_server
    node = world.node(environment)
    world.run(environment, lambda: world.volume(environment).state == "attached")
    for number in range(most - 1):
        theirs = world.harness.seed_volume(name=f"theirs-{number}", labels={})
        world.harness.settle(world.harness.provider.attach_volume(theirs, node.server_id).pending)
    second = world.release(environment, data=10, more=10)
    follow(world, second, "failed")
    assert second.evidence["code"] == "provider.limit"
    assert release.sequence == 1


# Growing and deleting: F17, F18, F23, F24


def test_f17_a_growth_whose_answer_is_lost_goes_on_from_what_the_volume_says(
    world: World, environment: Environment
) -> None:
    world.live(environment, world.release(environment, data=10))
    world.harness.inject("lost", "resize_volume")
    release = world.release(environment, data=40)
    waits(world, release, OutcomeUnknown.code)
    world.live(environment, release)
    assert world.harness.fake.calls.count("resize_volume") == 1
    row = world.volume(environment)
    assert (row.size_gb, row.wanted_gb, row.state) == (40, None, "attached")


def test_f18_a_server_that_is_protected_is_not_forgotten(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment))
    node = world.node(environment)
    world.harness.protect_server(node.server_id)
    environments.stop(environment=environment, by=BY)
    world.advance(environment)
    world.report(environment, world.machines[str(environment.pk)], environment.orders.get().sequence)
    world.run(environment, lambda: world.node(environment).fault)
    assert world.node(environment).fault["code"] == "provider.precondition"
    assert world.state(environment) == "stopping"
    assert world.shown(environment)["observed"]["provider"]["code"] == "provider.precondition"
    unprotect(world, node.server_id)
    world.run(environment, lambda: world.state(environment) == "stopped")
    assert world.harness.billed() == 0


def unprotect(world: World, server_id: str) -> None:
    if isinstance(world.harness, HetznerHarness):
        world.harness.fake.servers[int(server_id)]["protection"]["delete"] = False
    else:
        world.harness.fake.servers[server_id].shown["protected"] = False  # type: ignore[index]


def test_f23_a_list_that_cannot_be_read_whole_proves_nothing(world: World, environment: Environment) -> None:
    world.live(environment, world.release(environment, data=10))
    key = replace(servers.key_of(environment, Node()), environment_id="gone")
    orphan = world.harness.seed_server(name=key.cloud_name(), labels=key.labels())
    world.survey()
    world.wait(surveys.ORPHAN_GRACE_SECONDS + 1)
    world.harness.inject("html", "list_servers", times=3, status=502)
    surveys.survey(ACCOUNT)
    assert orphan in world.cloud().servers
    assert world.node(environment).state == "ready"
    assert world.volume(environment).state == "attached"


# F27, F28: machines that do not speak, and hands at the console


def test_f27_a_machine_that_never_phones_home_fails_the_release_and_is_kept_to_be_looked_at(
    world: World, environment: Environment
) -> None:
    release = world.release(environment, data=10)
    world.run(environment, lambda: world.node(environment).state == "booting")
    boot_deadline = world.node(environment).boot_deadline_at
    assert boot_deadline is not None
    assert 890 < (boot_deadline - attempts.timezone.now()).total_seconds() <= 900
    world.wait(901)
    follow(world, release, "failed")
    assert release.evidence["code"] == "node.boot_timeout"
    assert "has not reported anything" in release.evidence["summary"]
    (kept,) = world.servers(environment)
    for _ in range(5):
        world.wait(60)
        world.advance(environment)
    assert world.servers(environment) == [kept]
    later = world.release(environment, data=10)
    world.live(environment, later)
    assert world.servers(environment) != [kept]
    assert len(world.servers(environment)) == 1
    environment.refresh_from_db()
    assert environment.generation == 2


def test_f27_the_boot_deadline_is_the_account_s_and_the_evidence_says_what_was_reported(world: World) -> None:
    world.account("hasty", boot_deadline_seconds="30")
    environment = world.environment("hasty", account="hasty")
    release = world.release(environment)
    world.run(environment, lambda: world.node(environment).state == "booting")
    told = {"phase": "packages", "state": "failed", "at": 1_795_000_000_000, "log_tail": "E: no such package"}
    Node.objects.filter(environments=environment).update(boot=told)
    world.wait(31)
    follow(world, release, "failed")
    assert release.evidence["boot"]["log_tail"] == "E: no such package"
    assert "packages failed" in release.evidence["summary"]
    world.stop(environment)
    assert world.servers(environment) == []


def test_f27_a_machine_that_enrols_after_its_deadline_is_refused(world: World, environment: Environment) -> None:
    release = world.release(environment)
    world.run(environment, lambda: world.node(environment).state == "booting")
    world.wait(901)
    follow(world, release, "failed")
    with pytest.raises(AssertionError, match=r"node\.gone"):
        world.boot(environment)


def test_f28_a_server_deleted_by_hand_is_lost_and_replaced_by_an_operator_alone(
    world: World, environment: Environment
) -> None:
    release = world.release(environment, data=10)
    world.run(environment, lambda: world.volume(environment).state == "attached")
    world.remove_by_hand(world.node(environment).server_id)
    world.survey()
    follow(world, release, "failed")
    assert release.evidence["code"] == "node.lost"
    assert world.shown(environment)["placement"]["node"]["state"] == "lost"
    assert world.shown(environment)["observed"]["provider"]["code"] == "node.lost"
    later = world.release(environment, data=10)
    for _ in range(10):
        world.wait(30)
        world.advance(environment)
    assert waits(world, later, "node.lost")["on"] == "node"
    assert world.servers(environment) == []


def test_f28_a_live_node_s_server_deleted_by_hand_is_an_incident_and_nothing_more(
    world: World, environment: Environment
) -> None:
    release = world.live(environment, world.release(environment))
    world.remove_by_hand(world.node(environment).server_id)
    world.survey()
    world.advance(environment)
    assert world.node(environment).state == "lost"
    assert Event.objects.filter(kind="node:lost", severity="error").count() == 1
    assert world.status(release) == "live"
    assert world.servers(environment) == []
    world.stop(environment)
    assert world.state(environment) == "stopped"


def test_f28_a_volume_deleted_by_hand_is_lost_and_no_empty_one_takes_its_place(
    world: World, environment: Environment
) -> None:
    release = world.release(environment, data=10)
    world.run(environment, lambda: world.volume(environment).state == "attached")
    world.remove_by_hand(world.volume(environment).volume_id)
    world.survey()
    follow(world, release, "failed")
    assert release.evidence["code"] == "volume.lost"
    assert world.shown(environment)["volumes"][0]["state"] == "lost"
    later = world.release(environment, data=10)
    for _ in range(5):
        world.wait(30)
        world.advance(environment)
    assert waits(world, later, "volume.lost")["on"] == "volume"
    assert world.volumes(environment) == []


def test_f28_a_volume_that_is_missing_at_its_attachment_is_lost_at_once(world: World, environment: Environment) -> None:
    volume_orders.create(environment=environment, name="data", size_gb=None, by=BY)
    world.run(environment, lambda: world.volume(environment).state == "available")
    world.remove_by_hand(world.volume(environment).volume_id)
    release = world.release(environment, data=10)
    follow(world, release, "failed")
    assert release.evidence["code"] == "volume.lost"


# F31: secrets


def test_f31_no_secret_of_a_machine_or_account_is_logged_or_stored(
    world: World, environment: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world.harness.refuse("auth", "attach_volume")
    release = world.release(environment, data=10)
    waits(world, release, "provider.auth")
    accounts.check(ACCOUNT)
    world.live(environment, release)
    (server_id,) = world.servers(environment)
    token = world.harness.user_data_at_boot(server_id) or ""
    kept = [str(row.__dict__) for rows in (Node, Release, Event) for row in rows.objects.all()] + caplog.messages
    secrets = [*CREDENTIALS[type(world.harness)].values()][:2]
    for text in kept:
        for secret in secrets:
            assert secret not in text or secret.startswith("SCWF")
        assert not token or token not in text


def test_sizes_are_asked_for_as_declared_and_rounded_up_to_the_minimum(world: World, environment: Environment) -> None:
    """F16: what is below the minimum is rounded up; without a size it is 10."""
    minimum = world.harness.provider.capabilities.volumes.min_gb
    rows = volumes.ensure(environment.pk, {"tiny": 1, "plain": None, "exact": 37})
    assert [row.size_gb for row in rows] == [minimum, 10, 37]
    assert VolumeSpec(None).size_gb is None

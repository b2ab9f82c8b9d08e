"""What every provider promises, as tests. A subclass gives a `harness` fixture; pytest collects the rest.

ProviderContract is for all; CloudContract, on top, is for those whose world can be disturbed. F1 to F31 are the faults
of the table in providers/README.md, named where a test is about one.
"""

# ruff: noqa: S101 - these are tests, which pytest rewrites.
from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from providers import rules
from providers.errors import (
    AuthFailed,
    Busy,
    CapacityUnavailable,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Retry,
    SpecMismatch,
    Unavailable,
)
from providers.idempotent import find_servers, find_volumes
from providers.operations import TOKEN_MAX_BYTES
from providers.ports import Outcome, ServerState, VolumeState
from providers.testing.harnesses import ENVIRONMENT, INSTALLATION, FakeHarness, Harness

MISSING = "00000000-0000-4000-8000-000000000000"


class ProviderContract:
    """Rules that hold everywhere."""

    # Servers

    def test_a_server_is_made_and_found_by_its_key(self, harness: Harness) -> None:
        server = harness.server()

        assert server.state is ServerState.RUNNING
        assert harness.cloud().servers_of(harness.key()) == [server.id]
        assert [found.id for found in find_servers(harness.provider, harness.key())] == [server.id]

    def test_asking_for_a_server_again_answers_the_same_one(self, harness: Harness) -> None:
        server = harness.server()

        again = harness.provider.create_server(harness.server_spec())

        assert (again.value.id, again.pending) == (server.id, None)
        assert len(harness.cloud().servers) == 1

    def test_servers_of_another_installation_are_not_listed(self, harness: Harness) -> None:
        harness.server()

        assert harness.provider.list_servers(installation="another") == []

    def test_a_missing_server_is_not_found_and_deleting_it_is_done(self, harness: Harness) -> None:
        for server_id in (MISSING, "4711", "no id at all"):
            with pytest.raises(NotFound):
                harness.provider.get_server(server_id)
            if server_id != "no id at all":
                assert harness.provider.delete_server(server_id) is None

    def test_a_deleted_server_is_gone_and_can_be_made_anew(self, harness: Harness) -> None:
        first = harness.server()

        harness.settle(harness.provider.delete_server(first.id))
        assert harness.cloud().servers == {}
        assert harness.server().id != first.id

    def test_deleting_a_server_keeps_its_data_volumes_and_frees_them(self, harness: Harness) -> None:
        volume, server = harness.attached()

        harness.settle(harness.provider.delete_server(server.id))
        harness.advance(20)

        kept = harness.provider.get_volume(volume.id)
        assert (kept.state, kept.server_id) == (VolumeState.AVAILABLE, None)

    def test_user_data_that_is_too_long_is_refused_with_its_length(self, harness: Harness) -> None:
        limit = harness.provider.capabilities.user_data_max_bytes

        with pytest.raises(InvalidRequest) as refused:
            harness.provider.create_server(harness.server_spec(user_data="é" * (limit // 2 + 1)))

        assert str(limit) in refused.value.fields["user_data"]
        assert harness.cloud().servers == {}

    # Volumes

    def test_a_volume_is_made_and_found_by_its_key(self, harness: Harness) -> None:
        volume = harness.volume()

        assert (volume.state, volume.size_gb, volume.formatted) == (VolumeState.AVAILABLE, harness.minimum, False)
        assert harness.cloud().volumes_of(harness.key("data")) == [volume.id]
        assert [found.id for found in find_volumes(harness.provider, harness.key("data"))] == [volume.id]

    def test_the_node_can_tell_where_a_volume_is(self, harness: Harness) -> None:
        volume = harness.volume()

        assert (volume.device_path is None) != (volume.directory is None)
        assert (volume.device_path is None) == (volume.device_serial is None)

    def test_asking_for_a_volume_again_answers_the_same_one(self, harness: Harness) -> None:
        volume = harness.volume()

        assert harness.provider.create_volume(harness.volume_spec()).value.id == volume.id
        assert len(harness.cloud().volumes) == 1

    def test_two_names_of_one_environment_are_two_volumes(self, harness: Harness) -> None:
        assert harness.volume("data").id != harness.volume("logs").id

    def test_volumes_are_listed_by_environment(self, harness: Harness) -> None:
        volume = harness.volume()
        elsewhere = replace(harness.key("data"), environment_id="another-environment")
        harness.settle(harness.provider.create_volume(harness.volume_spec(key=elsewhere)).pending)

        of_all = harness.provider.list_volumes(installation=INSTALLATION)
        of_one = harness.provider.list_volumes(installation=INSTALLATION, environment_id=ENVIRONMENT)

        assert len(of_all) == 2
        assert [found.id for found in of_one] == [volume.id]

    def test_sizes_are_taken_as_declared_and_refused_beyond(self, harness: Harness) -> None:
        """Capability truth, and F16: the cloud's own numbers are in the fake, ours in the capabilities."""
        limits = harness.provider.capabilities.volumes

        for size_gb in (limits.min_gb - 1, limits.max_gb + 1):
            with pytest.raises(InvalidRequest) as refused:
                harness.provider.create_volume(harness.volume_spec(size_gb=size_gb))
            assert "size_gb" in refused.value.fields
        for name, size_gb in (("least", limits.min_gb), ("most", limits.max_gb)):
            made = harness.provider.create_volume(harness.volume_spec(name, size_gb=size_gb))
            harness.settle(made.pending)
            assert harness.provider.get_volume(made.value.id).size_gb == size_gb

    def test_a_declared_size_is_rounded_up_to_what_can_be_ordered(self, harness: Harness) -> None:
        limits = harness.provider.capabilities.volumes

        assert rules.rounded_size(None, limits) == max(10, limits.min_gb)
        assert rules.rounded_size(1, limits) == limits.min_gb
        assert rules.rounded_size(limits.min_gb + 7, limits) == limits.min_gb + 7

    def test_a_missing_volume_is_not_found_and_deleting_it_is_done(self, harness: Harness) -> None:
        for volume_id in (MISSING, "4711"):
            with pytest.raises(NotFound):
                harness.provider.get_volume(volume_id)
            assert harness.provider.delete_volume(volume_id) is None

    # Attachments

    def test_a_volume_is_attached_and_detached(self, harness: Harness) -> None:
        volume, server = harness.attached()
        assert (volume.state, volume.server_id) == (VolumeState.ATTACHED, server.id)
        assert harness.provider.get_server(server.id).attached_volume_ids == (volume.id,)

        harness.settle(harness.provider.detach_volume(volume.id).pending)

        freed = harness.provider.get_volume(volume.id)
        assert (freed.state, freed.server_id) == (VolumeState.AVAILABLE, None)
        assert harness.provider.get_server(server.id).attached_volume_ids == ()

    def test_attaching_again_detaching_the_detached_and_growing_to_the_same_size_succeed(
        self, harness: Harness
    ) -> None:
        """F12."""
        volume, server = harness.attached()

        assert harness.provider.attach_volume(volume.id, server.id).pending is None
        assert harness.provider.resize_volume(volume.id, volume.size_gb).pending is None
        harness.settle(harness.provider.detach_volume(volume.id).pending)
        assert harness.provider.detach_volume(volume.id).pending is None

    def test_attaching_to_a_missing_server_or_a_missing_volume_is_not_found(self, harness: Harness) -> None:
        volume, server = harness.volume(), harness.server()

        with pytest.raises(NotFound):
            harness.provider.attach_volume(volume.id, MISSING)
        with pytest.raises(NotFound):
            harness.provider.attach_volume(MISSING, server.id)

    def test_as_many_volumes_as_declared_can_be_attached_and_one_more_is_refused(self, harness: Harness) -> None:
        """F15, before the request."""
        server, limit = harness.server(), harness.provider.capabilities.volumes.max_attached_per_server
        for number in range(limit):
            volume = harness.volume(f"v{number}")
            harness.settle(harness.provider.attach_volume(volume.id, server.id).pending)

        with pytest.raises(LimitExceeded):
            harness.provider.attach_volume(harness.volume("too-many").id, server.id)

    # Growing and deleting

    def test_a_volume_grows_also_while_attached_and_never_shrinks(self, harness: Harness) -> None:
        """F16."""
        volume, _ = harness.attached()

        harness.settle(harness.provider.resize_volume(volume.id, volume.size_gb + 5).pending)

        assert harness.provider.get_volume(volume.id).size_gb == volume.size_gb + 5
        for size_gb in (volume.size_gb, harness.provider.capabilities.volumes.max_gb + 1):
            with pytest.raises(InvalidRequest):
                harness.provider.resize_volume(volume.id, size_gb)

    def test_an_attached_volume_is_not_deleted_and_not_detached_for_it(self, harness: Harness) -> None:
        """F18."""
        volume, server = harness.attached()

        with pytest.raises(PreconditionFailed) as refused:
            harness.provider.delete_volume(volume.id)

        assert refused.value.in_use_by == server.id
        assert harness.provider.get_volume(volume.id).server_id == server.id

    def test_a_detached_volume_is_deleted_and_can_be_made_anew(self, harness: Harness) -> None:
        volume = harness.volume()

        harness.settle(harness.provider.delete_volume(volume.id))

        assert harness.cloud().volumes == {}
        assert harness.volume().id != volume.id

    # Account

    def test_a_good_account_passes_its_check_with_a_cure_for_what_is_unknown(self, harness: Harness) -> None:
        findings = harness.provider.check()

        assert "credentials" in {finding.subject for finding in findings}
        assert all(finding.verdict != "failed" for finding in findings)
        assert all(finding.cure for finding in findings if finding.verdict == "unknown")

    def test_the_catalogue_names_the_size_and_the_location_that_are_ordered(self, harness: Harness) -> None:
        catalogue = harness.provider.catalogue()

        assert harness.location in {place.name for place in catalogue.locations}
        assert harness.size in {size.name for size in catalogue.sizes}


Perform = Callable[[FakeHarness], Any]


def _create_server(harness: FakeHarness) -> Perform:
    return lambda h: h.provider.create_server(h.server_spec())


def _create_volume(harness: FakeHarness) -> Perform:
    return lambda h: h.provider.create_volume(h.volume_spec())


def _attach(harness: FakeHarness) -> Perform:
    server, volume = harness.server(), harness.volume()
    return lambda h: h.provider.attach_volume(volume.id, server.id)


def _detach(harness: FakeHarness) -> Perform:
    volume, _ = harness.attached()
    return lambda h: h.provider.detach_volume(volume.id)


def _resize(harness: FakeHarness) -> Perform:
    volume = harness.volume()
    return lambda h: h.provider.resize_volume(volume.id, volume.size_gb + 1)


def _delete_volume(harness: FakeHarness) -> Perform:
    volume = harness.volume()
    return lambda h: h.provider.delete_volume(volume.id)


def _delete_server(harness: FakeHarness) -> Perform:
    server = harness.server()
    return lambda h: h.provider.delete_server(server.id)


def _get_server(harness: FakeHarness) -> Perform:
    server = harness.server()
    return lambda h: h.provider.get_server(server.id)


def _get_volume(harness: FakeHarness) -> Perform:
    volume = harness.volume()
    return lambda h: h.provider.get_volume(volume.id)


def _list_servers(harness: FakeHarness) -> Perform:
    return lambda h: h.provider.list_servers(installation=INSTALLATION)


def _list_volumes(harness: FakeHarness) -> Perform:
    return lambda h: h.provider.list_volumes(installation=INSTALLATION)


WRITES: dict[str, Callable[[FakeHarness], Perform]] = {
    "create_server": _create_server,
    "create_volume": _create_volume,
    "attach_volume": _attach,
    "detach_volume": _detach,
    "resize_volume": _resize,
    "delete_volume": _delete_volume,
    "delete_server": _delete_server,
}
READS: dict[str, Callable[[FakeHarness], Perform]] = {
    "get_server": _get_server,
    "get_volume": _get_volume,
    "list_servers": _list_servers,
    "list_volumes": _list_volumes,
}
WITH_A_BODY = [call for call in WRITES if call != "delete_volume"]
MEANINGS: dict[str, type[ProviderError]] = {
    "rate": RateLimited,
    "busy": Busy,
    "conflict": Busy,
    "auth": AuthFailed,
    "forbidden": AuthFailed,
    "quota": QuotaExceeded,
    "capacity": CapacityUnavailable,
}


def settled(harness: Harness, answer: Any) -> None:
    """Follow whatever a call answered to its end."""
    harness.settle(answer.pending if isinstance(answer, Outcome) else answer)


class CloudContract(ProviderContract):
    """Rules that need a world which can be disturbed."""

    # F1, F2, F19: answers that do not come

    @pytest.mark.parametrize("fault", ["lost", "html_after"])
    @pytest.mark.parametrize("call", WRITES)
    def test_a_write_that_was_done_without_an_answer_is_unknown_and_happens_once(
        self, harness: FakeHarness, call: str, fault: str
    ) -> None:
        """F1, F17, F19."""
        perform = WRITES[call](harness)
        harness.inject(fault, call)

        with pytest.raises(OutcomeUnknown) as unknown:
            perform(harness)

        assert unknown.value.retry is Retry.RECONCILE
        self._settles_once(harness, call, perform)

    @pytest.mark.parametrize("call", WITH_A_BODY)
    def test_a_write_whose_answer_is_cut_short_is_unknown_and_happens_once(
        self, harness: FakeHarness, call: str
    ) -> None:
        """F19."""
        perform = WRITES[call](harness)
        harness.inject("truncated", call)

        with pytest.raises(OutcomeUnknown):
            perform(harness)

        self._settles_once(harness, call, perform)

    @pytest.mark.parametrize("fault", ["html", "reset", "hang"])
    @pytest.mark.parametrize("call", WRITES)
    def test_a_write_that_got_lost_on_the_way_is_unknown_and_is_done_when_repeated(
        self, harness: FakeHarness, call: str, fault: str
    ) -> None:
        """F19."""
        perform = WRITES[call](harness)
        harness.provider = harness.rebuilt_provider(request_timeout_seconds="0.3")
        harness.inject(fault, call, seconds=1)

        with pytest.raises(OutcomeUnknown):
            perform(harness)

        self._settles_once(harness, call, perform)

    def _settles_once(self, harness: FakeHarness, call: str, perform: Perform) -> None:
        """As the control plane goes on: after the window, with another worker, until it settles. At most one exists."""
        harness.advance(30)
        harness.provider = harness.rebuilt_provider()
        settled(harness, perform(harness))
        cloud = harness.cloud()
        if call.startswith("create_"):
            assert len(cloud.servers_of(harness.key())) + len(cloud.volumes_of(harness.key("data"))) == 1
        if call == "delete_server":
            assert cloud.servers == {}
        if call == "delete_volume":
            assert cloud.volumes == {}
        assert all(len(kept.server_ids) <= 1 for kept in cloud.volumes.values())

    @pytest.mark.parametrize("fault", ["html", "reset", "hang", "truncated"])
    @pytest.mark.parametrize("call", READS)
    def test_a_read_without_an_answer_is_unavailable_and_is_repeated(
        self, harness: FakeHarness, call: str, fault: str
    ) -> None:
        """F19, F23: a list that fails is an error and never a shorter list."""
        perform = READS[call](harness)
        harness.provider = harness.rebuilt_provider(request_timeout_seconds="0.3")
        harness.inject(fault, call, seconds=1)

        with pytest.raises(Unavailable) as unavailable:
            perform(harness)

        assert unavailable.value.retry is Retry.YES
        perform(harness)

    @pytest.mark.parametrize("call", ["get_server", "get_volume"])
    def test_members_and_states_that_nobody_knows_yet_are_tolerated(self, harness: FakeHarness, call: str) -> None:
        """F19."""
        perform = READS[call](harness)
        harness.inject("additions", call)

        answered = perform(harness)

        assert (answered.state, answered.raw_state) in (
            (ServerState.UNKNOWN, answered.raw_state),
            (VolumeState.UNKNOWN, "pondering"),
        )

    def test_a_provider_that_cannot_be_reached_is_unavailable_also_for_writes(self, harness: FakeHarness) -> None:
        """Nothing was sent, so nothing is unknown."""
        harness.fake.close()

        with pytest.raises(Unavailable):
            harness.provider.create_volume(harness.volume_spec())

    def test_a_worker_killed_before_it_kept_the_id_finds_the_server_by_its_key(self, harness: FakeHarness) -> None:
        """F2."""
        killed = harness.provider.create_server(harness.server_spec())

        revived = harness.rebuilt_provider().create_server(harness.server_spec())

        assert revived.value.id == killed.value.id
        assert harness.writes().count("create_server") == 1

    @pytest.mark.parametrize("call", ["create_server", "create_volume"])
    def test_a_resource_that_is_listed_late_is_not_made_twice_after_the_settle_window(
        self, harness: FakeHarness, call: str
    ) -> None:
        """F5: the answer is lost, and the cloud does not list what it made."""
        harness.inject("create_lag", call, polls=20)
        harness.inject("lost", call)
        with pytest.raises(OutcomeUnknown):
            WRITES[call](harness)(harness)

        self._settles_once(harness, call, WRITES[call](harness))

        assert harness.writes().count(call) == 1

    def test_a_volume_that_answers_404_after_its_creation_is_waited_for(self, harness: FakeHarness) -> None:
        """F5."""
        harness.inject("create_lag", "create_volume", polls=6)
        outcome = harness.provider.create_volume(harness.volume_spec())

        harness.settle(outcome.pending)

        assert harness.provider.get_volume(outcome.value.id).state is VolumeState.AVAILABLE

    # F4, F13, F14, F18: what is not ours or not fitting

    def test_a_server_of_our_key_with_another_size_is_a_mismatch_and_stays(self, harness: FakeHarness) -> None:
        """F4."""
        server = harness.server()

        for spec in (
            harness.server_spec(size=harness.other_size),
            harness.server_spec(location=harness.other_location),
        ):
            with pytest.raises(SpecMismatch) as mismatch:
                harness.provider.create_server(spec)
            assert mismatch.value.resource_id == server.id
        assert list(harness.cloud().servers) == [server.id]

    def test_a_volume_of_our_key_in_another_location_is_a_mismatch_and_stays(self, harness: FakeHarness) -> None:
        """F4."""
        volume = harness.volume()

        with pytest.raises(SpecMismatch):
            harness.provider.create_volume(harness.volume_spec(location=harness.other_location))

        assert list(harness.cloud().volumes) == [volume.id]

    def test_a_volume_attached_elsewhere_is_never_taken_away(self, harness: FakeHarness) -> None:
        """F13."""
        volume, server = harness.attached()
        other = harness.server("node-2")

        with pytest.raises(PreconditionFailed) as refused:
            harness.provider.attach_volume(volume.id, other.id)

        assert refused.value.in_use_by == server.id
        assert harness.cloud().volumes[volume.id].server_ids == (server.id,)

    def test_a_volume_and_a_server_apart_are_refused_before_any_write(self, harness: FakeHarness) -> None:
        """F14."""
        server = harness.server()
        volume = harness.provider.create_volume(harness.volume_spec(location=harness.other_location))
        harness.settle(volume.pending)
        before = harness.writes()

        with pytest.raises(InvalidRequest) as refused:
            harness.provider.attach_volume(volume.value.id, server.id)

        assert "location" in refused.value.fields
        assert harness.writes() == before

    def test_a_protected_server_stays_and_says_why(self, harness: FakeHarness) -> None:
        """F18."""
        server = harness.server()
        harness.protect_server(server.id)

        with pytest.raises(PreconditionFailed):
            harness.settle(harness.provider.delete_server(server.id))

        assert list(harness.cloud().servers) == [server.id]

    def test_repeating_what_is_so_already_writes_nothing(self, harness: FakeHarness) -> None:
        """F12."""
        volume, server = harness.attached()
        free = harness.volume("free")
        before = harness.writes()

        harness.provider.create_server(harness.server_spec())
        harness.provider.create_volume(harness.volume_spec())
        harness.provider.attach_volume(volume.id, server.id)
        harness.provider.detach_volume(free.id)
        harness.provider.resize_volume(volume.id, volume.size_gb)
        harness.provider.delete_volume(MISSING)

        assert harness.writes() == before

    # F6, F7, F20, F21, F22: refusals

    @pytest.mark.parametrize("word", MEANINGS)
    @pytest.mark.parametrize("call", [*WRITES, *READS])
    def test_a_refusal_means_what_its_code_says_and_nothing_was_done(
        self, harness: FakeHarness, call: str, word: str
    ) -> None:
        """F6, F7, F20, F21, F22, on each call."""
        perform = (WRITES | READS)[call](harness)
        before, known = harness.cloud(), len(harness.writes())
        harness.refuse(word, call)

        if word in ("busy", "conflict") and call == "delete_server" and harness.named(call) != call:
            perform(harness)
        else:
            # F15: with an attachment, one cloud's word for a quota means the server's own limit.
            per_server = (LimitExceeded,) if (call, word) == ("attach_volume", "quota") else ()
            with pytest.raises((MEANINGS[word], *per_server)) as refused:
                perform(harness)
            assert refused.value.provider_code
            assert refused.value.cure in str(refused.value)

        assert harness.cloud() == before
        assert len(harness.writes()) <= known + 2, "refused once is asked once"

    def test_missing_capacity_names_the_place_and_the_size_and_changes_neither(self, harness: FakeHarness) -> None:
        """F22."""
        harness.refuse("capacity", "create_server")

        with pytest.raises(CapacityUnavailable) as refused:
            harness.provider.create_server(harness.server_spec())

        assert (refused.value.location, refused.value.size) == (harness.location, harness.size)
        assert refused.value.retry is Retry.LATER
        assert harness.cloud().servers == {}

    def test_a_quota_that_is_used_up_is_no_question_of_rights(self, harness: FakeHarness) -> None:
        """F21: both are 403."""
        harness.fake.max_servers = 0

        with pytest.raises(QuotaExceeded):
            harness.provider.create_server(harness.server_spec())

    def test_a_credential_that_is_refused_pauses_and_is_tried_once(self, harness: FakeHarness) -> None:
        """F20."""
        refused_provider = harness.without_rights(read_only=False)

        with pytest.raises(AuthFailed) as refused:
            refused_provider.list_servers(installation=INSTALLATION)

        assert refused.value.retry is Retry.PAUSE
        assert len(harness.fake.calls) == 1
        assert refused_provider.check()[0].verdict == "failed"

    def test_a_credential_that_only_reads_is_refused_at_the_first_write(self, harness: FakeHarness) -> None:
        """F20."""
        with pytest.raises(AuthFailed):
            harness.without_rights(read_only=True).create_volume(harness.volume_spec())

        assert harness.cloud().volumes == {}

    # F10, F11, F17, F25: what takes time

    def test_a_server_has_no_address_at_first_and_that_is_no_error(self, harness: FakeHarness) -> None:
        """F25."""
        outcome = harness.provider.create_server(harness.server_spec())
        assert outcome.value.ipv4 is None
        assert outcome.pending is not None

        harness.settle(outcome.pending)
        harness.advance(5)

        assert harness.provider.get_server(outcome.value.id).ipv4 is not None

    def test_growing_that_was_done_without_an_answer_is_not_asked_for_again(self, harness: FakeHarness) -> None:
        """F17."""
        volume = harness.volume()
        harness.inject("lost", "resize_volume")
        with pytest.raises(OutcomeUnknown):
            harness.provider.resize_volume(volume.id, volume.size_gb + 1)
        harness.advance(5)

        assert harness.provider.resize_volume(volume.id, volume.size_gb + 1).pending is None
        assert harness.writes().count("resize_volume") == 1

    def test_tokens_of_operations_are_small_and_outlive_the_worker(self, harness: FakeHarness) -> None:
        server = harness.provider.create_server(harness.server_spec())
        volume = harness.provider.create_volume(harness.volume_spec())
        for pending in (server.pending, volume.pending):
            assert pending is not None
            assert len(pending.token.encode()) <= TOKEN_MAX_BYTES
            harness.provider = harness.rebuilt_provider()
            harness.settle(pending)

        assert harness.provider.get_server(server.value.id).state is ServerState.RUNNING

    def test_poll_seconds_is_how_often_one_looks(self, harness: FakeHarness) -> None:
        pending = harness.rebuilt_provider(poll_seconds="7.5").create_server(harness.server_spec()).pending

        assert pending is not None
        assert pending.poll_after_s == 7.5

    # F23: many pages

    def test_more_than_two_pages_are_all_listed_and_none_twice(self, harness: FakeHarness) -> None:
        """F23."""
        seeded = {harness.seed_volume(name=f"v{n}", labels=harness.key(f"v{n}").labels()) for n in range(120)}

        listed = [volume.id for volume in harness.provider.list_volumes(installation=INSTALLATION)]

        assert sorted(listed) == sorted(seeded)

    @pytest.mark.parametrize("kind", ["servers", "volumes"])
    def test_a_record_that_goes_while_pages_are_read_hides_no_other(self, harness: FakeHarness, kind: str) -> None:
        """F23."""
        seed = harness.seed_server if kind == "servers" else harness.seed_volume
        seeded = {seed(name=f"r{n}", labels=harness.key(f"r{n}").labels()) for n in range(120)}
        harness.inject("deleted_meanwhile", f"list_{kind}")
        listing = harness.provider.list_servers if kind == "servers" else harness.provider.list_volumes

        listed = [resource.id for resource in listing(installation=INSTALLATION)]

        assert len(listed) == len(set(listed)) == 119
        assert set(listed) < seeded

    def test_a_page_that_fails_fails_the_list(self, harness: FakeHarness) -> None:
        """F23: a sweep must not take a part for the whole."""
        for n in range(120):
            harness.seed_server(name=f"s{n}", labels=harness.key(f"s{n}").labels())
        harness.provider.list_servers(installation=INSTALLATION)
        asked = harness.fake.calls.count("list_servers")
        harness.inject("reset", "list_servers", after=1)

        with pytest.raises(Unavailable):
            harness.provider.list_servers(installation=INSTALLATION)
        assert harness.fake.calls.count("list_servers") == asked + 2

    # F28: by hand

    def test_what_was_deleted_by_hand_is_not_found_and_not_made_again_by_looking(self, harness: FakeHarness) -> None:
        """F28: the control plane calls it lost."""
        volume, server = harness.volume(), harness.server()
        harness.remove_by_hand(server.id)
        harness.remove_by_hand(volume.id)

        with pytest.raises(NotFound):
            harness.provider.get_server(server.id)
        with pytest.raises(NotFound):
            harness.provider.get_volume(volume.id)
        assert harness.provider.list_servers(installation=INSTALLATION) == []

    # Foreign resources

    def test_foreign_resources_are_neither_listed_nor_touched(self, harness: FakeHarness) -> None:
        foreign_server = harness.seed_server(name="theirs", labels={"team": "web"})
        foreign_volume = harness.seed_volume(name="theirs", labels={"managed-by": "terraform"})
        before = harness.cloud()

        harness.settle(harness.provider.delete_server(harness.server().id))
        harness.settle(harness.provider.delete_volume(harness.volume().id))

        assert harness.cloud() == before
        assert foreign_server in before.servers
        assert foreign_volume in before.volumes
        assert harness.provider.list_servers(installation=INSTALLATION) == []

    # F31: secrets

    def test_no_secret_is_in_an_error_or_a_log(self, harness: FakeHarness, caplog: pytest.LogCaptureFixture) -> None:
        """F31: user data, tokens and root passwords, at the most talkative level."""
        caplog.set_level(logging.DEBUG)
        said: list[str] = []
        for fault in ("lost", "truncated", "html", "reset"):
            harness.inject(fault, "create_server")
            try:
                harness.provider.create_server(harness.server_spec(f"node-{fault}"))
            except ProviderError as error:
                said += [str(error), repr(error), repr(error.__cause__)]
        said.append(repr(harness.server_spec()))
        said.append(repr(harness.provider.create_server(harness.server_spec())))

        for secret in harness.secrets:
            assert secret not in caplog.text
            assert all(secret not in text for text in said)

    def test_every_server_boots_with_its_user_data(self, harness: FakeHarness) -> None:
        server = harness.server()

        assert harness.user_data_at_boot(server.id) == harness.server_spec().user_data

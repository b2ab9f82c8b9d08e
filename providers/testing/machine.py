"""Random orders and random faults against a provider, and what must hold after each of them."""

# ruff: noqa: S101 - these are tests, which pytest rewrites.
from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from providers.errors import OutcomeUnknown, ProviderError
from providers.idempotent import SETTLE_WINDOW_SECONDS
from providers.ports import Operation, Outcome
from providers.testing.harnesses import FakeHarness

SERVERS = ("node-1", "node-2")
VOLUMES = ("data", "logs")
TRANSPORT = ("lost", "html_after", "truncated", "html", "reset")
REFUSALS = ("rate", "busy", "conflict", "quota", "capacity")
CALLS = (
    "create_server", "create_volume", "attach_volume", "detach_volume", "resize_volume", "delete_volume",
    "delete_server", "get_server", "get_volume", "list_servers", "list_volumes",
)  # fmt: skip

servers, volumes = st.sampled_from(SERVERS), st.sampled_from(VOLUMES)


class CloudMachine(RuleBasedStateMachine):
    """Plays the control plane: one caller per key, ids kept once answered, the settle window kept after a doubt."""

    harness_class: ClassVar[Callable[[], FakeHarness]]
    own_faults: ClassVar[tuple[tuple[str, str, dict[str, Any]], ...]] = ()
    """(kind, call, arguments) that only this cloud has."""

    def __init__(self) -> None:
        super().__init__()
        self.harness = type(self).harness_class()
        self.known: dict[str, str] = {}
        self.pending: dict[str, Operation] = {}
        self.doubtful: set[str] = set()
        self.given_up: set[str] = set()
        self.owned: dict[str, tuple[str, ...]] = {}
        self.foreign = (
            self.harness.seed_server(name="theirs", labels={"team": "web"}),
            self.harness.seed_volume(name="theirs", labels={"managed-by": "terraform"}),
        )
        self.untouched = [self.harness.cloud().servers[self.foreign[0]], self.harness.cloud().volumes[self.foreign[1]]]

    # What the control plane does

    @rule(name=servers)
    def create_server(self, name: str) -> None:
        self._create(name, lambda: self.harness.provider.create_server(self.harness.server_spec(name)))

    @rule(name=volumes)
    def create_volume(self, name: str) -> None:
        self._create(name, lambda: self.harness.provider.create_volume(self.harness.volume_spec(name)))

    def _create(self, name: str, call: Callable[[], Outcome[Any]]) -> None:
        if name in self.known:
            return
        if name in self.doubtful:
            self.harness.clock.now += SETTLE_WINDOW_SECONDS
            self.harness.advance(SETTLE_WINDOW_SECONDS)
            self.doubtful.discard(name)
        outcome = self._tried(name, call)
        if outcome is not None:
            self.known[name] = outcome.value.id
            if name in SERVERS:
                self.owned[outcome.value.id] = outcome.value.owned_volume_ids
            self._keep(name, outcome.pending)

    @rule(volume=volumes, server=servers)
    def attach(self, volume: str, server: str) -> None:
        if volume in self.known and server in self.known:
            ids = self.known[volume], self.known[server]
            self._follow(volume, lambda: self.harness.provider.attach_volume(*ids).pending)

    @rule(volume=volumes)
    def detach(self, volume: str) -> None:
        if volume in self.known:
            self._follow(volume, lambda: self.harness.provider.detach_volume(self.known[volume]).pending)

    @rule(volume=volumes, more_gb=st.integers(0, 3))
    def grow(self, volume: str, more_gb: int) -> None:
        if volume in self.known:
            size_gb = self.harness.minimum + more_gb
            self._follow(volume, lambda: self.harness.provider.resize_volume(self.known[volume], size_gb).pending)

    @rule(name=st.sampled_from(SERVERS + VOLUMES))
    def delete(self, name: str) -> None:
        if name not in self.known:
            return
        resource_id = self.known[name]
        try:
            operation = self._deleted(resource_id)
        except OutcomeUnknown:
            self.given_up.add(resource_id)
        except ProviderError:
            return
        else:
            self.given_up.add(resource_id)
            if operation is None:
                self._forget(name)
            else:
                self._keep(name, operation)

    @rule(name=st.sampled_from(SERVERS + VOLUMES))
    def poll(self, name: str) -> None:
        operation = self.pending.pop(name, None)
        if operation is None:
            return
        try:
            self._keep(name, self.harness.provider.poll(operation))
        except ProviderError as error:
            if error.retryable:
                self.pending[name] = operation
            return
        if name not in self.pending and self.known.get(name) in self.given_up:
            self._forget(name)

    @rule(name=st.sampled_from(SERVERS + VOLUMES))
    def die_before_the_id_is_kept(self, name: str) -> None:
        """Whoever takes over finds no id and an expired lease: the last write is in doubt."""
        if self.known.get(name) not in self.given_up:
            self._forget(name)
            self.doubtful.add(name)

    @rule()
    def start_another_worker(self) -> None:
        self.harness.provider = self.harness.rebuilt_provider()

    # What the world does

    @rule(polls=st.integers(1, 10))
    def pass_time(self, polls: int) -> None:
        self.harness.clock.now += polls
        self.harness.advance(polls)

    @rule(kind=st.sampled_from(TRANSPORT), call=st.sampled_from(CALLS), times=st.integers(1, 2))
    def disturb(self, kind: str, call: str, times: int) -> None:
        self.harness.inject(kind, call, times=times)

    @rule(word=st.sampled_from(REFUSALS), call=st.sampled_from(CALLS))
    def refuse(self, word: str, call: str) -> None:
        self.harness.refuse(word, call)

    @rule(call=st.sampled_from(("create_server", "create_volume")), polls=st.integers(1, 8))
    def answer_late(self, call: str, polls: int) -> None:
        self.harness.inject("create_lag", call, polls=polls)

    @precondition(lambda self: self.own_faults)
    @rule(number=st.integers(0, 20))
    def disturb_as_only_this_cloud_can(self, number: int) -> None:
        kind, call, arguments = self.own_faults[number % len(self.own_faults)]
        self.harness.faults.inject(kind, on=call, **arguments)

    # What must hold

    @invariant()
    def no_key_has_two_live_resources(self) -> None:
        cloud = self.harness.cloud()
        for name in SERVERS:
            assert len(cloud.servers_of(self.harness.key(name))) <= 1
        for name in VOLUMES:
            assert len(cloud.volumes_of(self.harness.key(name))) <= 1

    @invariant()
    def no_volume_is_on_two_servers(self) -> None:
        assert all(len(kept.server_ids) <= 1 for kept in self.harness.cloud().volumes.values())

    @invariant()
    def no_known_id_is_lost(self) -> None:
        cloud = self.harness.cloud()
        for name, resource_id in self.known.items():
            if resource_id not in self.given_up:
                assert resource_id in (cloud.servers if name in SERVERS else cloud.volumes)

    @invariant()
    def foreign_resources_are_untouched(self) -> None:
        cloud = self.harness.cloud()
        assert [cloud.servers.get(self.foreign[0]), cloud.volumes.get(self.foreign[1])] == self.untouched

    def teardown(self) -> None:
        """With the faults over, everything can be given back, and nothing of ours is left to be paid for."""
        try:
            self.harness.faults.clear()
            self.harness.clock.now += SETTLE_WINDOW_SECONDS
            self.harness.advance(SETTLE_WINDOW_SECONDS)
            for found in self.harness.provider.list_servers(installation=self.harness.key().installation):
                self.harness.settle(self.harness.provider.delete_server(found.id))
            for resource_id in self.given_up:
                self.harness.settle(self._deleted(resource_id))
            self.harness.advance(SETTLE_WINDOW_SECONDS)
            for volume in self.harness.provider.list_volumes(installation=self.harness.key().installation):
                self.harness.settle(self.harness.provider.delete_volume(volume.id))
            cloud = self.harness.cloud()
            assert (set(cloud.servers), set(cloud.volumes)) == ({self.foreign[0]}, {self.foreign[1]})
            assert self.harness.billed() == 2
        finally:
            self.harness.close()

    # Aids

    def _deleted(self, resource_id: str) -> Operation | None:
        """With what the server is known to own: without it, a deletion that is repeated would find nothing to do."""
        if resource_id in self.owned:
            return self.harness.provider.delete_server(resource_id, owned_volume_ids=self.owned[resource_id])
        return self.harness.provider.delete_volume(resource_id)

    def _tried(self, name: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except OutcomeUnknown:
            self.doubtful.add(name)
        except ProviderError:
            pass
        return None

    def _follow(self, name: str, call: Callable[[], Operation | None]) -> None:
        if self.known[name] in self.given_up:
            return
        with contextlib.suppress(ProviderError):
            self._keep(name, call())

    def _keep(self, name: str, operation: Operation | None) -> None:
        self.pending.pop(name, None)
        if operation is not None:
            self.pending[name] = operation

    def _forget(self, name: str) -> None:
        self.known.pop(name, None)
        self.pending.pop(name, None)

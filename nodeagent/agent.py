"""The loop: a heartbeat is always on its way, its signed reply says what is wanted, and lanes carry that out."""

from __future__ import annotations

import logging
import random
import threading
import time
from dataclasses import dataclass

from . import policy
from .client import Client, ClientError, Connect, Signer, connect
from .enrolment import enrol_if_asked
from .heartbeats import BOOT_REFUSED, Heartbeats, ReplyError
from .intake import Intake
from .lanes import CANCELLED, DEFAULT_PARALLEL, Lane
from .logtail import LogTail
from .ports import Engine
from .records import NodeRecord
from .reporter import RefusedError, Reporter, UnsentError
from .store import Store, StoreError
from .wire.errors import WireError
from .wire.events import EventBatch
from .wire.heartbeat import EnvironmentOrder, Reply

log = logging.getLogger(__name__)
WAIT_SECONDS = 25
DEFAULT_DEADLINE_SECONDS = 900
FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 10.0
ENROLMENT_POLL_SECONDS = 0.5
QUICK_REPLY_SECONDS = 1.0
MAX_PACE_SECONDS = 10.0
WATCH_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Settings:
    """How one agent runs. `wait_seconds` is how long a heartbeat is held open, `parallel` how many applies may run."""

    wait_seconds: int = WAIT_SECONDS
    parallel: int = DEFAULT_PARALLEL
    volume_root: str = policy.DEFAULT_VOLUME_ROOT


class Agent:
    """A node's agent for as long as the machine is that node. `run` returns after `stop`, from any thread."""

    def __init__(
        self, store: Store, engine: Engine, settings: Settings | None = None, *, connect_with: Connect = connect
    ):
        self._store = store
        self._engine = engine
        self._settings = settings or Settings()
        self._connect = connect_with
        self._stopping = threading.Event()
        self._loop: Loop | None = None

    def run(self) -> None:
        """Wait for an identity, live as that node until a new enrolment is asked for, and again."""
        while not self._stopping.is_set():
            node = self._await_identity()
            if node is None:
                return
            signing_key, _ = self._store.keys()
            client = self._connect(node.control_url, node.ca, Signer(signing_key, node.node_id, node.node_generation))
            self._loop = Loop(self._store, self._engine, client, node, self._settings, self._stopping)
            self._loop.run()

    def stop(self) -> None:
        """End soon. An apply under way is left to the next start, as after a crash: its journal says what to do."""
        self._stopping.set()
        if self._loop is not None:
            self._loop.changed()

    def _await_identity(self) -> NodeRecord | None:
        backoff = ENROLMENT_POLL_SECONDS
        while not self._stopping.is_set():
            try:
                node = enrol_if_asked(self._store, self._connect)
                if node is not None:
                    return node
                backoff = ENROLMENT_POLL_SECONDS
            except (ClientError, WireError) as error:
                log.error("Enrolment did not succeed: %s", error)
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
            self._stopping.wait(backoff)
        return None


class Loop:
    """One node's life between two enrolments."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        client: Client,
        node: NodeRecord,
        settings: Settings,
        stopping: threading.Event,
    ):
        self._store = store
        self._client = client
        self._settings = settings
        self._stopping = stopping
        self._news = threading.Event()
        self._slots = threading.BoundedSemaphore(settings.parallel)
        self._lanes: dict[str, Lane] = {}
        self._deadline_seconds = DEFAULT_DEADLINE_SECONDS
        self._reporter = Reporter(store.spool, self._send, acknowledged=store.acknowledge_receipt)
        self._intake = Intake(
            store, engine, self._reporter, client, volume_root=settings.volume_root, changed=self.changed
        )
        self._heartbeats = Heartbeats(store, engine, self._intake, node)
        self._log_tail = LogTail(engine, self._intake, client)

    def run(self) -> None:
        """Check what is current, then beat until the agent stops or a new enrolment is asked for."""
        self._boot()
        self._reporter.start()
        watch = threading.Thread(target=self._watch, name="watch", daemon=True)
        watch.start()
        try:
            self._beat_for_ever()
        finally:
            self._reporter.stop()
            self._log_tail.close()

    def changed(self) -> None:
        """The next heartbeat would say something new: do not wait for the end of the one that is held."""
        self._news.set()
        self._client.interrupt()

    def _send(self, environment_id: str, seq: int, batch: EventBatch) -> None:
        try:
            self._client.send_events(environment_id, seq, batch)
        except ClientError as error:
            raise (UnsentError if error.retryable else RefusedError)(str(error)) from error

    # Boot

    def _boot(self) -> None:
        """Verify what is current and what was interrupted, then let the engine finish or undo it."""
        for environment_id in self._store.environments():
            lane = self._lane(environment_id)
            self._intake.redeliver(environment_id)
            if self._is_sound(lane):
                self._recover(lane)

    def _is_sound(self, lane: Lane) -> bool:
        """Whether each payload that boot would act on is trusted; if not, an alarm, and nothing started or stopped."""
        try:
            current = self._store.current(lane.environment_id)
        except StoreError as error:
            self._block(lane, self._store.floor().of(lane.environment_id).max_seen_seq, error.code, str(error))
            return False
        for seq in sorted({current or 0, *self._store.unfinished(lane.environment_id)} - {0}):
            verdict = self._intake.verify_stored(lane.environment_id, seq, any_action=seq != current)
            if not verdict.is_trusted:
                self._block(lane, seq, verdict.code or BOOT_REFUSED, verdict.why)
                return False
        return True

    def _block(self, lane: Lane, seq: int, code: str, why: str) -> None:
        lane.blocked = code
        if seq:
            self._intake.alarm(lane.environment_id, seq, code, f"At boot nothing was started or stopped. {why}")

    def _recover(self, lane: Lane) -> None:
        unfinished = self._store.unfinished(lane.environment_id)
        seq = unfinished[-1] if unfinished else 0
        # The deadline went on while the agent was down: who missed it reverts instead of finishing.
        progressed_at = self._store.journal(lane.environment_id, seq).last_written() if seq else None
        self._intake.recover(lane, seq, progressed_at, deadline_seconds=self._deadline_seconds)

    # The loop

    def _beat_for_ever(self) -> None:
        backoff, pace = FIRST_BACKOFF_SECONDS, 0.0
        previous: Reply | None = None
        while True:
            self._news.clear()
            # After clearing: whoever stops us sets both, and must not have the second one cleared away.
            if self._stopping.is_set():
                return
            began = time.monotonic()
            try:
                # The first one is not held: what was pending when we went down is no news to who holds it.
                reply = self._beat(0 if previous is None else self._settings.wait_seconds)
            except (ClientError, ReplyError) as error:
                if self._news.is_set():
                    # We hung up ourselves.
                    continue
                log.warning("No heartbeat: %s", error)
                if self._store.enrolment() is not None:
                    return
                # Jitter, or all nodes would come back in the same second.
                self._news.wait(backoff * random.uniform(0.5, 1.0))  # noqa: S311  no secret
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
                continue
            backoff = FIRST_BACKOFF_SECONDS
            is_quick = time.monotonic() - began < QUICK_REPLY_SECONDS
            pace = _next_pace(pace) if is_quick and _orders(reply) == _orders(previous) else 0.0
            previous = reply
            self._news.wait(max(pace, reply.next_heartbeat_s))

    def _beat(self, wait_seconds: int) -> Reply:
        """One heartbeat, and what its reply orders. Raises ClientError, ReplyError."""
        heartbeat = self._heartbeats.make(list(self._lanes.values()))
        raw = self._client.heartbeat(heartbeat, wait_seconds=wait_seconds, overtaken=self._news)
        reply = self._heartbeats.open(raw, nonce=heartbeat.nonce)
        self._take(reply)
        return reply

    def _take(self, reply: Reply) -> None:
        self._store.see_server_time(reply.server_time)
        self._deadline_seconds = reply.apply_deadline_s
        if reply.keyset_version > self._store.keyset().version:
            self._intake.follow_keysets()
        for order in reply.environments:
            self._follow(order)
        for request in reply.log_requests:
            self._log_tail.answer(request)

    def _follow(self, order: EnvironmentOrder) -> None:
        self._store.place(order.environment_id, order.generation)
        lane = self._lane(order.environment_id)
        if order.pending_release_seq:
            self._intake.offer(lane, order.pending_release_seq, order.pending_digest)
        if order.cancel_seq:
            lane.cancel(order.cancel_seq, CANCELLED)

    def _lane(self, environment_id: str) -> Lane:
        if environment_id not in self._lanes:
            self._lanes[environment_id] = Lane(environment_id, self._slots)
        return self._lanes[environment_id]

    def _watch(self) -> None:
        """Expire applies also while no heartbeat comes through: nobody waits for them any more."""
        while not self._stopping.wait(WATCH_SECONDS):
            for lane in list(self._lanes.values()):
                lane.expire(self._deadline_seconds)


def _orders(reply: Reply | None) -> object:
    return None if reply is None else (reply.environments, reply.log_requests)


def _next_pace(pace: float) -> float:
    """Seconds until the next heartbeat where a control plane repeats at once what this node cannot do yet."""
    return min(max(pace * 2, QUICK_REPLY_SECONDS), MAX_PACE_SECONDS)

"""Heartbeats: what this node says of itself, and whether a reply is the control plane's answer to it."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterable
from dataclasses import replace

from . import __version__
from .enrolment import boot_id
from .intake import Intake
from .lanes import Lane
from .ports import Engine
from .records import NodeRecord
from .store import Store, StoreError
from .wire.decode import decode
from .wire.envelope import PAYLOAD_HEARTBEAT, open_envelope
from .wire.errors import EnvelopeError, WireError
from .wire.heartbeat import Dimension, Disk, EnvironmentReport, Heartbeat, Observed, Reply

log = logging.getLogger(__name__)
BOOT_REFUSED = "drift.current_refused"


class ReplyError(Exception):
    """A reply that is not the control plane's answer to this heartbeat: `reply.untrusted`, `.replayed` or `.stale`."""

    def __init__(self, code: str, why: str):
        super().__init__(code, why)
        self.code = code
        self.why = why

    def __str__(self) -> str:
        return f"{self.why} ({self.code})"


class Heartbeats:
    """Makes the heartbeats of one node, and opens their replies."""

    def __init__(self, store: Store, engine: Engine, intake: Intake, node: NodeRecord):
        self._store = store
        self._engine = engine
        self._intake = intake
        self._node = node
        self._boot_id = boot_id()
        self._counter = 0
        self._digests: dict[tuple[str, int], str] = {}

    def make(self, lanes: Iterable[Lane]) -> Heartbeat:
        """The next heartbeat: looks at every environment, which takes as long as Docker does."""
        # Milliseconds since boot: it grows over restarts of the agent too, with nothing to remember on disk.
        self._counter = max(self._counter + 1, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)
        return Heartbeat(
            nonce=secrets.token_urlsafe(24),
            counter=self._counter,
            boot_id=self._boot_id,
            agent_version=__version__,
            node_generation=self._node.node_generation,
            keyset_version=self._store.keyset().version,
            environments=tuple(self._report(lane) for lane in lanes),
            disk=self._disk(),
        )

    def open(self, raw: bytes, *, nonce: str) -> Reply:
        """The reply, signed by a release key and with this heartbeat's nonce in it. Raises ReplyError."""
        try:
            reply = decode(Reply, self._verified(raw))
        except WireError as error:
            raise ReplyError("reply.untrusted", f"The reply cannot be trusted: {error}") from error
        if reply.nonce != nonce:
            raise ReplyError("reply.replayed", "The reply answers another heartbeat")
        if reply.server_time < self._store.floor().server_time:
            raise ReplyError("reply.stale", "The control plane's time is before one that it signed earlier")
        return reply

    def _verified(self, raw: bytes) -> bytes:
        try:
            return open_envelope(raw, payload_type=PAYLOAD_HEARTBEAT, keys=self._store.keyset().release_keys())
        except EnvelopeError as error:
            # A key that we do not know may be that of a keyset that we have missed.
            if error.code != "envelope.unknown_key" or not self._intake.follow_keysets():
                raise
            return open_envelope(raw, payload_type=PAYLOAD_HEARTBEAT, keys=self._store.keyset().release_keys())

    def _report(self, lane: Lane) -> EnvironmentReport:
        current = self._current(lane.environment_id)
        # The lane first: an apply that ends between two looks must not be reported as over with the old look.
        apply = lane.report()
        return EnvironmentReport(
            environment_id=lane.environment_id,
            max_seen_seq=self._store.floor().of(lane.environment_id).max_seen_seq,
            current_seq=current,
            current_digest=self._digest(lane.environment_id, current),
            apply=apply,
            observed=self._observe(lane),
        )

    def _current(self, environment_id: str) -> int:
        try:
            return self._store.current(environment_id) or 0
        except StoreError:
            return 0

    def _digest(self, environment_id: str, seq: int) -> str:
        """The release digest of a stored payload that a trusted key signed; "" where there is none."""
        if not seq:
            return ""
        if (environment_id, seq) not in self._digests:
            verdict = self._intake.verify_stored(environment_id, seq)
            self._digests[environment_id, seq] = verdict.statement.release_digest if verdict.statement else ""
        return self._digests[environment_id, seq]

    def _observe(self, lane: Lane) -> Observed:
        try:
            observed = self._engine.observe(lane.environment_id)
        except Exception as error:  # noqa: BLE001  a heartbeat must go out whatever Docker does: it is how anyone learns
            log.error("%s cannot be observed: %s", lane.environment_id, type(error).__name__)
            unknown = Dimension("unknown", "observe.failed", f"The node could not look ({type(error).__name__}).")
            observed = Observed(unknown, unknown, unknown, unknown, unknown, {}, ())
        if lane.blocked:
            why = f"The stored payload was refused at boot ({lane.blocked}); nothing was started or stopped."
            observed = replace(observed, drift=Dimension("failed", BOOT_REFUSED, why))
        return observed

    def _disk(self) -> Disk:
        try:
            return self._engine.disk()
        except Exception as error:  # noqa: BLE001  as for environments
            log.error("The disk cannot be observed: %s", type(error).__name__)
            return Disk(0, 0)

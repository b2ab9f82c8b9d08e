"""Takes one sequence from offer to recorded outcome: fetch, verify, raise the floor, write, apply, sign, record.

Runs in the environment's lane. Nothing is touched before the inbox has accepted the bytes in memory, and the floor is
on disk before the engine makes its first call.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from . import inbox, receipts
from .client import Client, ClientError
from .inbox import Verdict
from .lanes import CANCELLED, Lane
from .ports import Cancellation, Engine, Outcome, Progress
from .redaction import Redactor
from .reporter import Reporter
from .store import Store, StoreError
from .traces import trace
from .wire import fetch, keyset, sealed
from .wire.errors import KeysetError, WireError
from .wire.fetch import Payload
from .wire.statement import Statement

log = logging.getLogger(__name__)
FIRST_RETRY_SECONDS = 1.0
MAX_RETRY_SECONDS = 60.0
REDELIVERY_SECONDS = 15.0
EQUIVOCATION = "payload.equivocation"
MAX_KEYSET_STEPS = 100
MAX_SKEW_SECONDS = 60
"""How far behind a clock may simply run: as far as the control plane lets it in the times of requests."""
_NO_OUTCOME = "agent.no_outcome"


@dataclass(slots=True)
class _Attempts:
    """How often a sequence could not be taken, and when it may be tried again; `alarms` are the codes told so far."""

    retry_at: float = 0.0
    delay_seconds: float = FIRST_RETRY_SECONDS
    alarms: tuple[str, ...] = ()


class Intake:
    """What the loop hands offers to."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        reporter: Reporter,
        client: Client,
        *,
        volume_root: str,
        changed: Callable[[], None],
    ):
        """`changed` is called when the next heartbeat would say something new."""
        self._store = store
        self._engine = engine
        self._reporter = reporter
        self._client = client
        self._volume_root = volume_root
        self._changed = changed
        self._attempts: dict[tuple[str, int], _Attempts] = {}
        self._redelivered: dict[tuple[str, int], float] = {}
        self._keysets = threading.Lock()

    # Offers

    def offer(self, lane: Lane, seq: int, digest: str = "") -> None:
        """Take up a pending sequence in its lane, unless it has an outcome, failed moments ago, or the lane is busy.

        `digest` is the release's in the signed reply: another one than was accepted for this sequence is an alarm.
        """
        floor = self._store.floor().of(lane.environment_id)
        if digest and seq == floor.max_seen_seq and digest != floor.max_seen_digest:
            self._tell_once(lane.environment_id, seq, EQUIVOCATION, inbox.REFUSALS[EQUIVOCATION])
        elif self._store.receipt(lane.environment_id, seq) is not None:
            self._answer_from_record(lane.environment_id, seq)
        elif time.monotonic() >= self._attempt(lane.environment_id, seq).retry_at:
            lane.start(seq, lambda cancel: self._take(lane, seq, cancel))

    def redeliver(self, environment_id: str) -> None:
        """Spool again what was recorded and never acknowledged: a crash may have come between the two."""
        for seq in self._store.undelivered_receipts(environment_id):
            self._spool_recorded(environment_id, seq)

    def _answer_from_record(self, environment_id: str, seq: int) -> None:
        """The control plane asks for what is done: it has lost the receipt, or its answer has crossed ours."""
        key, now = (environment_id, seq), time.monotonic()
        if now - self._redelivered.get(key, float("-inf")) >= REDELIVERY_SECONDS:
            self._redelivered[key] = now
            self._spool_recorded(environment_id, seq)

    def _spool_recorded(self, environment_id: str, seq: int) -> None:
        receipt = self._store.receipt(environment_id, seq)
        if receipt is not None and not self._reporter.has_receipt(environment_id, seq):
            self._reporter.add_receipt(environment_id, seq, receipt)

    # Boot

    def verify_stored(self, environment_id: str, seq: int, *, any_action: bool = False) -> Verdict:
        """The question of boot about a stored payload: that of `current`, or with `any_action` an interrupted order's.

        A file that cannot be read is refused, not raised.
        """
        try:
            payload = self._store.release(environment_id, seq)
            known = self._store.knowledge(environment_id, volume_root=self._volume_root)
        except StoreError as error:
            return inbox.refused(error.path.name, error.code, str(error))
        verdict = inbox.of_directory(inbox.boot(payload, known), seq)
        statement = verdict.statement
        if statement is not None and not (any_action or statement.action == "apply"):
            return inbox.refused("action", inbox.OTHER_SEQUENCE, "What lies in this directory is an order, no release")
        return verdict

    def recover(self, lane: Lane, seq: int, progressed_at: int | None, *, deadline_seconds: int) -> bool:
        """Finish or undo in the lane what a crash interrupted: of sequence `seq`, or of none (0)."""

        def work(cancel: Cancellation) -> None:
            lane.expire(deadline_seconds)
            self._recover(lane, seq, cancel)

        return lane.start(seq, work, progressed_at=progressed_at)

    def _recover(self, lane: Lane, seq: int, cancel: Cancellation) -> None:
        if seq:
            lane.accepted()
        outcome = self._recovered(lane, cancel)
        if outcome is not None:
            statement = self._statement(lane.environment_id, outcome.seq)
            self._settle(lane, statement, outcome)
        self._changed()

    def _recovered(self, lane: Lane, cancel: Cancellation) -> Outcome | None:
        """Docker may come up after us: try until the engine can do its part."""
        delay = FIRST_RETRY_SECONDS
        while True:
            try:
                return self._engine.recover(lane.environment_id, cancel=cancel, report=self._reporting(lane))
            except Exception as error:  # noqa: BLE001  whatever it was, the next try may find it gone
                log.error("%s is not recovered yet: %s", lane.environment_id, trace(error))
                time.sleep(delay)
                delay = min(delay * 2, MAX_RETRY_SECONDS)

    def _statement(self, environment_id: str, seq: int) -> Statement:
        """Of a stored payload whose signature counts; StoreError otherwise."""
        payload = self._store.release(environment_id, seq)
        verdict = inbox.boot(payload, self._store.knowledge(environment_id, volume_root=self._volume_root))
        if verdict.statement is None:
            path = self._store.release_path(environment_id, seq)
            raise StoreError(verdict.code or "state.corrupt", path, verdict.why, "Restore it, or replace the node")
        return verdict.statement

    # One sequence

    def _take(self, lane: Lane, seq: int, cancel: Cancellation) -> None:
        try:
            payload = fetch.unpack(self._client.fetch(lane.environment_id, seq))
        except ClientError as error:
            log.warning("Sequence %d of %s cannot be fetched: %s", seq, lane.environment_id, error)
            self._retry_later(lane.environment_id, seq)
            return
        verdict = self._judge(lane.environment_id, seq, payload)
        if verdict.statement is None or not verdict.is_trusted:
            self._refuse(lane, seq, verdict)
            return
        self._carry_out(lane, verdict.statement, payload, cancel)

    def _judge(self, environment_id: str, seq: int, payload: Payload) -> Verdict:
        verdict = self._accept(environment_id, payload)
        if verdict.code in ("payload.keyset_newer", "envelope.unknown_key") and self.follow_keysets():
            verdict = self._accept(environment_id, payload)
        return inbox.of_directory(verdict, seq)

    def _accept(self, environment_id: str, payload: Payload) -> Verdict:
        known = self._store.knowledge(environment_id, volume_root=self._volume_root)
        return inbox.accept(payload, known, now=_time_of_acceptance(known.server_time))

    def _carry_out(self, lane: Lane, statement: Statement, payload: Payload, cancel: Cancellation) -> None:
        environment_id, seq = lane.environment_id, statement.seq
        self._attempts.pop((environment_id, seq), None)
        self._store.raise_floor(environment_id, seq, statement.release_digest)
        self._store.write_release(environment_id, seq, payload)
        lane.accepted()
        self._changed()
        outcome = self._run(lane, statement, cancel, self._reporting(lane))
        self._settle(lane, statement, outcome)
        self._store.prune(environment_id)

    def _run(
        self, lane: Lane, statement: Statement, cancel: Cancellation, report: Callable[[Progress], None]
    ) -> Outcome:
        started_at = int(time.time())
        if cancel.is_set():
            return self._ended(lane, statement, started_at, "cancelled", CANCELLED, "It was cancelled before it began.")
        try:
            if statement.action == "apply":
                return self._engine.apply(lane.environment_id, statement.seq, cancel=cancel, report=report)
            return self._engine.stop(lane.environment_id, statement.seq, statement.action, cancel=cancel, report=report)
        except Exception as error:  # noqa: BLE001  a bug must end in an outcome too
            # Not its text: what it says was not meant for a log, and may quote a value.
            log.error("The engine broke off sequence %d: %s", statement.seq, trace(error))
            return self._after_breakdown(lane, statement, started_at, cancel, report, type(error).__name__)

    def _after_breakdown(
        self,
        lane: Lane,
        statement: Statement,
        started_at: int,
        cancel: Cancellation,
        report: Callable[[Progress], None],
        what: str,
    ) -> Outcome:
        """A fault of the agent itself: undo as after a crash, and say so."""
        cancel.set(_NO_OUTCOME)
        try:
            outcome = self._engine.recover(lane.environment_id, cancel=cancel, report=report)
        except Exception as error:  # noqa: BLE001  as above
            log.error("Recovery broke off too: %s", trace(error))
            outcome = None
        if outcome is None:
            why = f"The agent failed with {what}; its log says where."
            return self._ended(lane, statement, started_at, "failed", _NO_OUTCOME, why)
        # Nobody asked for a cancellation: what was undone because of a fault has failed.
        return replace(outcome, outcome="failed") if outcome.outcome == "cancelled" else outcome

    def _ended(self, lane: Lane, statement: Statement, started_at: int, outcome: str, code: str, why: str) -> Outcome:
        return Outcome(
            seq=statement.seq,
            outcome="cancelled" if outcome == "cancelled" else "failed",
            code=code,
            summary=why,
            serving_seq=self._store.current(lane.environment_id) or 0,
            started_at=started_at,
            finished_at=int(time.time()),
        )

    def _settle(self, lane: Lane, statement: Statement, outcome: Outcome) -> None:
        """Sign, record, spool: in this order, so that what is recorded is what is told."""
        environment_id, seq = lane.environment_id, statement.seq
        signing_key, _ = self._store.keys()
        redactor = self.redactor(environment_id, [seq])
        envelope = receipts.sign(outcome, statement, signing_key, redact=redactor.redact)
        self._store.record_receipt(environment_id, seq, envelope)
        self._reporter.add_receipt(environment_id, seq, envelope)
        lane.end(outcome.outcome, outcome.code)
        if outcome.outcome in ("live", "stopped", "retired"):
            lane.blocked = ""
        log.info("Sequence %d of %s: %s %s", seq, environment_id, outcome.outcome, outcome.code)
        self._changed()

    # Refusals

    def _refuse(self, lane: Lane, seq: int, verdict: Verdict) -> None:
        """Say what was refused. What no other payload of the sequence could cure is the sequence's outcome."""
        code = verdict.code or inbox.OTHER_SEQUENCE
        log.warning("Sequence %d of %s is refused: %s (%s)", seq, lane.environment_id, verdict.why, code)
        self._tell_once(lane.environment_id, seq, code, verdict.why)
        if code in inbox.FINAL and verdict.statement is not None:
            ended = self._ended(lane, verdict.statement, int(time.time()), "failed", code, verdict.why)
            self._settle(lane, verdict.statement, ended)
        else:
            self._retry_later(lane.environment_id, seq)

    def _tell_once(self, environment_id: str, seq: int, code: str, why: str) -> None:
        """Report a refusal, the first time that this sequence has it."""
        attempt = self._attempt(environment_id, seq)
        if code in attempt.alarms:
            return
        attempt.alarms += (code,)
        if code in inbox.TRANSIENT:
            told = Progress(seq, "apply:step", "verify", "failed", f"{code}: {why}", "warning")
            self._reporter.add(environment_id, told)
        else:
            self.alarm(environment_id, seq, code, why)

    def alarm(self, environment_id: str, seq: int, code: str, why: str) -> None:
        """Tell the control plane what a person should look at."""
        log.error("Alarm for %s, sequence %d: %s (%s)", environment_id, seq, why, code)
        self._reporter.add(environment_id, Progress(seq, "alarm", "", "failed", f"{code}: {why}", "error"))

    def _attempt(self, environment_id: str, seq: int) -> _Attempts:
        return self._attempts.setdefault((environment_id, seq), _Attempts())

    def _retry_later(self, environment_id: str, seq: int) -> None:
        attempt = self._attempt(environment_id, seq)
        attempt.retry_at = time.monotonic() + attempt.delay_seconds
        attempt.delay_seconds = min(attempt.delay_seconds * 2, MAX_RETRY_SECONDS)

    # Trust and values

    def follow_keysets(self) -> bool:
        """Adopt the keysets that follow the one that is held, one by one; whether there was any."""
        adopted = False
        with self._keysets:
            for _ in range(MAX_KEYSET_STEPS):
                if not self._follow_one():
                    return adopted
                adopted = True
        return adopted

    def _follow_one(self) -> bool:
        held = self._store.keyset()
        try:
            envelope = self._client.keyset(held.version + 1)
            successor = keyset.successor(held, envelope, now=int(time.time()))
        except ClientError as error:
            if error.status != 404:
                log.warning("Keyset %d cannot be fetched: %s", held.version + 1, error)
            return False
        except KeysetError as error:
            log.error("Keyset %d is refused: %s", held.version + 1, error)
            return False
        self._store.adopt_keyset(successor, envelope)
        log.info("Keyset %d is trusted now", successor.version)
        return True

    def redactor(self, environment_id: str, also: Iterable[int] = ()) -> Redactor:
        """Knows every value that the live or an unfinished release holds, and those of the sequences in `also`."""
        sequences = {self._store.current(environment_id), *self._store.unfinished(environment_id), *also}
        return Redactor(value for seq in sequences if seq for value in self._values(environment_id, seq))

    def _values(self, environment_id: str, seq: int) -> list[str]:
        """The values and pull passwords of one release; none for a stop order or a refused payload."""
        path = self._store.release_path(environment_id, seq) / "sealed.bin"
        if not path.exists() or path.stat().st_size == 0:
            return []
        _, box_key = self._store.keys()
        try:
            opened = sealed.unseal(path.read_bytes(), box_key)
        except WireError as error:
            log.error("The sealed part of sequence %d does not open: %s", seq, error.code)
            return []
        return [*opened.values, *(login.password for login in opened.registries)]

    def _reporting(self, lane: Lane) -> Callable[[Progress], None]:
        def report(progress: Progress) -> None:
            lane.note(progress)
            self._reporter.add(lane.environment_id, progress)

        return report


def _time_of_acceptance(server_time: int) -> int:
    """Now: the node's clock, or the highest signed server time seen where the clock runs a little behind that.

    A machine without time service starts at a whole second of its hardware clock, so it is behind by a part of one, and
    every reply would put it back behind again: it would never accept anything. What the control plane signed is a lower
    bound of the true time. Further behind is a clock that was set back, which the inbox refuses.
    """
    now = int(time.time())
    return server_time if 0 < server_time - now <= MAX_SKEW_SECONDS else now

"""The agent's loop against a control plane on loopback, with an engine that only remembers what it was asked."""

from __future__ import annotations

import dataclasses
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import pytest

from nodeagent import inbox, lanes
from nodeagent.agent import Agent, Settings
from nodeagent.heartbeats import BOOT_REFUSED
from nodeagent.ports import Cancellation, Outcome, Progress, Report
from nodeagent.store import Store
from nodeagent.wire import base64text
from nodeagent.wire.digests import sha256_digest
from nodeagent.wire.heartbeat import Dimension, Disk, LogRequest, Observed
from nodeagent.wire.logs import LogLine
from nodeagent.wire.receipt import Outcome as OutcomeName
from nodeagent.wire.receipt import ServiceEvidence
from tests import control_plane, signed
from tests.control_plane import ControlPlane
from tests.signed import CANARY, ENVIRONMENT, STRANGER, Offer, enrolled_store

FINE = Dimension("ok", "", "")


class RememberingEngine:
    """Does what a release is: writes a journal, moves `current`. `gate` holds applies until it is opened."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.calls: list[tuple[str, int]] = []
        self.floors: list[int] = []
        self.fails = False
        self.breaks_off = False
        self.gate = threading.Event()
        self.gate.set()
        self.tail = ""
        self.lines: list[LogLine] = []

    def apply(self, environment_id: str, seq: int, *, cancel: Cancellation, report: Report) -> Outcome:
        self.calls.append(("apply", seq))
        self.floors.append(Store(self.store.root).floor().of(environment_id).max_seen_seq)
        self.store.journal(environment_id, seq).append({"step": "disk"})
        report(Progress(seq, "apply:begin", "verify", "begin"))
        while not self.gate.is_set() and not cancel.is_set():
            cancel.wait(0.01)
        if self.breaks_off:
            raise RuntimeError(CANARY)
        if cancel.is_set():
            return self._outcome(seq, "failed" if cancel.code == lanes.DEADLINE else "cancelled", cancel.code)
        if self.fails:
            return self._outcome(seq, "failed", "health.unhealthy")
        self.store.set_current(environment_id, seq)
        return self._outcome(seq, "live", "")

    def recover(self, environment_id: str, *, cancel: Cancellation, report: Report) -> Outcome | None:
        unfinished = self.store.unfinished(environment_id)
        self.calls.append(("recover", unfinished[-1] if unfinished else 0))
        if not unfinished:
            return None
        return self._outcome(unfinished[-1], "failed", cancel.code or "apply.interrupted")

    def stop(
        self,
        environment_id: str,
        seq: int,
        action: Literal["stop", "retire"],
        *,
        cancel: Cancellation,
        report: Report,
    ) -> Outcome:
        self.calls.append((action, seq))
        self.store.clear_current(environment_id)
        return self._outcome(seq, "stopped" if action == "stop" else "retired", "")

    def observe(self, environment_id: str) -> Observed:
        return Observed(FINE, FINE, FINE, FINE, FINE, {}, ())

    def read_logs(
        self, environment_id: str, service: str | None, since: str | None, limit: int, cursor: str | None
    ) -> tuple[list[LogLine], str | None]:
        return self.lines, None

    def disk(self) -> Disk:
        return Disk(1, 2)

    def _outcome(self, seq: int, outcome: OutcomeName, code: str) -> Outcome:
        now = int(time.time())
        evidence = ServiceEvidence("running", "none", "running-no-check", None, 0, "", "", self.tail)
        serving = self.store.current(ENVIRONMENT) or 0
        return Outcome(seq, outcome, code, "", serving, now, now, {"web": evidence})


@pytest.fixture
def plane() -> Iterator[ControlPlane]:
    with control_plane.running() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path, plane: ControlPlane) -> Store:
    return enrolled_store(tmp_path / "sam", control_url=plane.url)


@pytest.fixture
def engine(store: Store) -> RememberingEngine:
    return RememberingEngine(store)


@contextmanager
def agent(store: Store, engine: RememberingEngine) -> Iterator[Agent]:
    """An agent that runs until the block ends, which takes well under a held heartbeat."""
    running = Agent(store, engine, Settings(wait_seconds=20))
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.stop()
        thread.join(5)
        assert not thread.is_alive()


def offer(seq: int = 1, **members: Any) -> Offer:
    return Offer(seq=seq, now=int(time.time()), **members)


def is_settled(plane: ControlPlane, seq: int) -> Callable[[], bool]:
    return lambda: any(receipt.seq == seq for receipt in plane.receipts)


def until(condition: Callable[[], object], *, seconds: float = 5.0) -> None:
    """Wait for something that the control plane does not see."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alarms(plane: ControlPlane) -> list[str]:
    return [event.detail for event in plane.events if event.kind == "alarm"]


def test_a_release_goes_from_offer_to_a_signed_receipt(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
        plane.wait_for(lambda: any(report.current_seq == 1 for report in plane.heartbeats[-1].environments))
    [receipt] = plane.receipts
    assert (receipt.outcome, receipt.serving_seq, receipt.node_id) == ("live", 1, signed.NODE)
    assert receipt.release_digest == sha256_digest(b"manifest 1")
    [report] = plane.heartbeats[-1].environments
    assert (report.max_seen_seq, report.current_digest) == (1, receipt.release_digest)
    assert plane.faults == []


def test_a_held_heartbeat_brings_a_release_in_well_under_200_ms(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    took = []
    with agent(store, engine):
        plane.wait_for(lambda: plane.heartbeats)
        for seq in range(1, 6):
            time.sleep(0.1)
            offered_at = time.monotonic()
            plane.offer(seq, offer(seq).payload())
            plane.wait_for(is_settled(plane, seq))
            took += [at - offered_at for fetched, at in plane.fetched if fetched == seq]
    assert sorted(took)[len(took) // 2] < 0.2


def test_the_floor_is_on_disk_before_the_engine_begins(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        for seq in (1, 2):
            plane.offer(seq, offer(seq).payload())
            plane.wait_for(is_settled(plane, seq))
    assert engine.floors == [1, 2]


def test_a_payload_replayed_after_a_failure_and_a_restart_is_refused_with_an_alarm(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        plane.offer(1, offer(1).payload())
        plane.wait_for(is_settled(plane, 1))
        engine.fails = True
        plane.offer(3, offer(3).payload())
        plane.wait_for(is_settled(plane, 3))
    engine.fails = False
    plane.offer(2, offer(2).payload())
    with agent(store, engine):
        plane.wait_for(lambda: alarms(plane))
    assert any("payload.below_floor" in alarm for alarm in alarms(plane))
    assert ("apply", 2) not in engine.calls
    assert store.current(ENVIRONMENT) == 1


def test_a_settled_sequence_is_answered_from_the_record(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
        until(lambda: store.undelivered_receipts(ENVIRONMENT) == [])
    with plane.wanting():
        plane.pending_seq = 1
    with agent(store, engine):
        plane.wait_for(lambda: len(plane.receipts) == 2)
    assert plane.receipts[0] == plane.receipts[1]
    assert [call for call in engine.calls if call[0] == "apply"] == [("apply", 1)]


def test_a_settled_sequence_that_is_offered_with_another_digest_raises_an_alarm(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
        until(lambda: store.undelivered_receipts(ENVIRONMENT) == [])
    with plane.wanting():
        plane.pending_seq, plane.pending_digest = 1, sha256_digest(b"another")
    with agent(store, engine):
        plane.wait_for(lambda: alarms(plane))
    assert alarms(plane)[0].startswith("payload.equivocation")
    assert len(engine.calls) == 2  # the apply, and the look after the restart


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"signer": STRANGER}, "envelope.unknown_key"),
        ({"statement": {"node_id": "another"}}, "payload.node"),
        ({"statement": {"generation": 2}}, "payload.generation"),
        ({"statement": {"seq": 2}}, inbox.OTHER_SEQUENCE),
    ],
)
def test_a_payload_that_is_not_ours_is_refused_before_anything_is_touched(
    plane: ControlPlane, store: Store, engine: RememberingEngine, wrong: dict[str, Any], code: str
) -> None:
    with agent(store, engine):
        plane.offer(1, offer(**wrong).payload())
        plane.wait_for(lambda: alarms(plane))
    assert [alarm.partition(":")[0] for alarm in alarms(plane)] == [code]
    assert engine.calls == []
    assert store.floor().of(ENVIRONMENT).max_seen_seq == 0
    assert store.releases(ENVIRONMENT) == []
    assert plane.receipts == []


def test_an_expired_payload_is_asked_for_again(plane: ControlPlane, store: Store, engine: RememberingEngine) -> None:
    with agent(store, engine):
        plane.offer(1, Offer(now=int(time.time()) - 5000).payload())
        plane.wait_for(lambda: any("payload.expired" in event.detail for event in plane.events))
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
    assert plane.receipts[0].outcome == "live"


def test_a_file_against_the_nodes_policy_fails_the_release_with_the_policys_code(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    document = signed.compose_document()
    document["services"]["web"]["privileged"] = "true"
    with agent(store, engine):
        plane.offer(1, offer(compose=signed.compose_bytes(document)).payload())
        plane.wait_for(is_settled(plane, 1))
    [receipt] = plane.receipts
    assert (receipt.outcome, receipt.code, receipt.serving_seq) == ("failed", "policy.key", 0)
    assert engine.calls == []


def test_a_reply_by_a_wrong_key_or_to_another_heartbeat_orders_nothing(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    plane.reply_key = STRANGER
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(lambda: len(plane.heartbeats) >= 2)
        with plane.wanting():
            plane.reply_key, plane.reply_changes = signed.RELEASE, {"nonce": "x" * 32}
        count = len(plane.heartbeats)
        plane.wait_for(lambda: len(plane.heartbeats) >= count + 2)
        assert plane.fetched == []
        with plane.wanting():
            plane.reply_changes = {}
        plane.wait_for(is_settled(plane, 1))


def test_two_applies_of_one_environment_never_run_at_once(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    engine.gate.clear()
    with agent(store, engine):
        plane.offer(1, offer(1).payload())
        plane.wait_for(lambda: engine.calls)
        plane.offer(2, offer(2).payload())
        time.sleep(0.3)
        assert engine.calls == [("apply", 1)]
        engine.gate.set()
        plane.wait_for(is_settled(plane, 2))
    assert engine.calls == [("apply", 1), ("apply", 2)]


def test_a_cancelled_apply_reverts(plane: ControlPlane, store: Store, engine: RememberingEngine) -> None:
    engine.gate.clear()
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(lambda: engine.calls)
        with plane.wanting():
            plane.cancel_seq = 1
        plane.wait_for(is_settled(plane, 1))
        with plane.wanting():
            plane.cancel_seq = 0
    assert (plane.receipts[0].outcome, plane.receipts[0].code) == ("cancelled", "apply.cancelled")


def test_an_apply_that_misses_its_deadline_reverts(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    engine.gate.clear()
    plane.apply_deadline_s = 1
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
    assert (plane.receipts[0].outcome, plane.receipts[0].code) == ("failed", lanes.DEADLINE)


def test_a_fault_of_the_agent_itself_ends_in_an_outcome_and_tells_no_secret(
    plane: ControlPlane, store: Store, engine: RememberingEngine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.breaks_off = True
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
    assert plane.receipts[0].outcome == "failed"
    assert CANARY not in caplog.text


def test_an_outcome_survives_a_control_plane_that_is_away(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    engine.gate.clear()
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(lambda: engine.calls)
        with plane.wanting():
            plane.is_down = True
        engine.gate.set()
        until(lambda: store.receipt(ENVIRONMENT, 1) is not None)
    with plane.wanting():
        plane.is_down = False
    with agent(store, engine):
        plane.wait_for(is_settled(plane, 1))
    assert plane.receipts[0].outcome == "live"
    assert [event.kind for event in plane.events] == ["apply:begin"]


def test_what_a_crash_interrupted_is_recovered_at_the_next_start(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    store.raise_floor(ENVIRONMENT, 4, sha256_digest(b"manifest 4"))
    store.write_release(ENVIRONMENT, 4, offer(4).payload())
    store.journal(ENVIRONMENT, 4).append({"step": "pull"})
    with agent(store, engine):
        plane.wait_for(is_settled(plane, 4))
    assert engine.calls == [("recover", 4)]
    assert plane.receipts[0].code == "apply.interrupted"


def test_who_was_down_past_the_deadline_reverts_instead_of_finishing(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    store.raise_floor(ENVIRONMENT, 4, sha256_digest(b"manifest 4"))
    store.write_release(ENVIRONMENT, 4, offer(4).payload())
    journal = store.journal(ENVIRONMENT, 4)
    journal.append({"step": "pull"})
    os.utime(journal.path, (time.time() - 3600,) * 2)
    with agent(store, engine):
        plane.wait_for(is_settled(plane, 4))
    assert plane.receipts[0].code == lanes.DEADLINE


def test_a_sequence_accepted_but_never_begun_is_taken_up_again(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    store.raise_floor(ENVIRONMENT, 4, sha256_digest(b"manifest 4"))
    with plane.wanting():
        plane.payloads[4], plane.pending_seq = offer(4).payload(), 4
    with agent(store, engine):
        plane.wait_for(is_settled(plane, 4))
    assert engine.calls == [("apply", 4)]


def test_a_current_payload_that_was_altered_starts_and_stops_nothing_at_boot(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
    compose = store.release_path(ENVIRONMENT, 1) / "compose.yaml"
    compose.write_bytes(compose.read_bytes() + b" ")
    engine.calls.clear()
    with agent(store, engine):
        plane.wait_for(lambda: alarms(plane))
        plane.wait_for(lambda: plane.heartbeats[-1].environments[0].observed.drift.state == "failed")
        assert engine.calls == []
        drift = plane.heartbeats[-1].environments[0].observed.drift
        assert drift.code == BOOT_REFUSED
        assert "payload.compose_digest" in drift.summary
        plane.offer(2, offer(2).payload())
        plane.wait_for(is_settled(plane, 2))
        plane.wait_for(lambda: plane.heartbeats[-1].environments[0].observed.drift.state == "ok")


def test_after_a_failed_release_current_still_starts_though_the_floor_is_above_it(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        plane.offer(1, offer(1).payload())
        plane.wait_for(is_settled(plane, 1))
        engine.fails = True
        plane.offer(2, offer(2).payload())
        plane.wait_for(is_settled(plane, 2))
    engine.calls.clear()
    with agent(store, engine):
        plane.wait_for(lambda: engine.calls)
    assert engine.calls == [("recover", 0)]
    assert alarms(plane) == []


@pytest.mark.parametrize("action", ["stop", "retire"])
def test_stop_and_retire_orders_leave_no_current(
    plane: ControlPlane, store: Store, engine: RememberingEngine, action: Literal["stop", "retire"]
) -> None:
    with agent(store, engine):
        plane.offer(1, offer(1).payload())
        plane.wait_for(is_settled(plane, 1))
        plane.offer(2, offer(2, action=action).payload())
        plane.wait_for(is_settled(plane, 2))
    assert engine.calls == [("apply", 1), (action, 2)]
    assert store.current(ENVIRONMENT) is None
    assert store.floor().of(ENVIRONMENT).max_seen_seq == 2


def test_log_lines_and_evidence_are_redacted_before_they_leave(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    encoded = base64text.to_text(CANARY.encode())
    engine.tail = f"token={CANARY}\nbasic {encoded}"
    engine.lines = [LogLine("2027-01-15T08:00:00Z", "web", "stdout", f"{CANARY} {encoded} pull-pass")]
    request = LogRequest("11111111-2222-4333-8444-555555555555", ENVIRONMENT, None, None, 10, None)
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(is_settled(plane, 1))
        with plane.wanting():
            plane.log_requests = (request,)
        plane.wait_for(lambda: plane.logs)
    said = plane.receipts[0].services["web"].log_tail + plane.logs[0].lines[0].text
    for secret in (CANARY, encoded, "pull-pass"):
        assert secret not in said
    assert said.count("[redacted]") == 5


def test_a_newer_keyset_is_followed_and_its_key_trusted(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    new_release = signed.signing_key(21)
    second = signed.keyset(version=2, keys=signed.ring(signed.RELEASE, new_release))
    with agent(store, engine):
        plane.wait_for(lambda: plane.heartbeats)
        with plane.wanting():
            plane.keysets[2] = signed.keyset_envelope(second, signed.ROOT)
            plane.keyset_version, plane.reply_key = 2, new_release
        payload = offer(signer=new_release, statement={"keyset_version": 2}).payload()
        plane.offer(1, payload)
        plane.wait_for(is_settled(plane, 1))
    assert Store(store.root).keyset() == second
    assert (store.root / "keysets" / "2.json").exists()


def test_a_keyset_by_a_stranger_is_not_followed(plane: ControlPlane, store: Store, engine: RememberingEngine) -> None:
    stolen = signed.keyset(version=2, keys=signed.ring(STRANGER), root=signed.ring(STRANGER))
    with plane.wanting():
        plane.keysets[2] = signed.keyset_envelope(stolen, STRANGER)
        plane.keyset_version = 2
    with agent(store, engine):
        plane.wait_for(lambda: len(plane.heartbeats) >= 2)
    assert store.keyset() == signed.keyset()


def test_a_repeated_reply_does_not_make_the_agent_spin(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    plane.keyset_version = 9  # never to be had, so that every heartbeat is answered at once
    with agent(store, engine):
        time.sleep(2)
    assert len(plane.heartbeats) <= 5


def test_a_node_enrols_with_a_ticket_and_forgets_the_token(tmp_path: Path, plane: ControlPlane) -> None:
    store = Store(tmp_path / "sam")
    store.prepare()
    engine = RememberingEngine(store)
    ticket = {
        "control_url": plane.url,
        "token": plane.token,
        "keyset": base64text.to_text(signed.keyset_envelope(signed.keyset(), signed.ROOT)),
        "ca": None,
    }
    with agent(store, engine):
        store.write_enrolment(json.dumps(ticket).encode())
        plane.wait_for(lambda: plane.heartbeats)
    node = store.node()
    assert node is not None
    assert (node.node_id, node.registry_hosts) == (signed.NODE, (signed.HOST,))
    assert store.enrolment() is None
    assert store.placements() == {ENVIRONMENT: 1}
    for path in store.root.rglob("*"):
        assert path.is_dir() or plane.token.encode() not in path.read_bytes()


def test_an_enrolment_whose_answer_was_lost_is_repeated_with_the_same_keys(tmp_path: Path, plane: ControlPlane) -> None:
    store = Store(tmp_path / "sam")
    store.prepare()
    ticket = {
        "control_url": plane.url,
        "token": plane.token,
        "keyset": base64text.to_text(signed.keyset_envelope(signed.keyset(), signed.ROOT)),
        "ca": None,
    }
    for _ in range(2):
        # The second time as after a crash before the identity was written.
        (store.root / "identity" / "node.json").unlink(missing_ok=True)
        store.write_enrolment(json.dumps(ticket).encode())
        with agent(store, RememberingEngine(store)):
            plane.wait_for(lambda: store.node() is not None and store.enrolment() is None, seconds=5)
    first, second = plane.enrolments
    assert first == second


def test_an_agent_stops_at_once_while_a_heartbeat_is_held(
    plane: ControlPlane, store: Store, engine: RememberingEngine
) -> None:
    with agent(store, engine):
        plane.wait_for(lambda: plane.heartbeats)
        began = time.monotonic()
    assert time.monotonic() - began < 2


def test_the_agent_survives_an_engine_that_cannot_look(
    plane: ControlPlane, store: Store, engine: RememberingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Observed:
        raise OSError("no docker")

    monkeypatch.setattr(engine, "observe", fail)
    monkeypatch.setattr(engine, "disk", fail)
    with agent(store, engine):
        plane.offer(1, offer().payload())
        plane.wait_for(lambda: plane.heartbeats and plane.heartbeats[-1].environments)
    assert plane.heartbeats[-1].environments[0].observed.app.state == "unknown"
    assert dataclasses.astuple(plane.heartbeats[-1].disk) == (0, 0)

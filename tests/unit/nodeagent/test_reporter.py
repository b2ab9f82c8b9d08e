"""Reports: on disk, in order, until they are acknowledged."""

from __future__ import annotations

from pathlib import Path

import pytest

from nodeagent.ports import Progress
from nodeagent.reporter import RefusedError, Reporter, UnsentError
from nodeagent.wire import base64text
from nodeagent.wire.events import MAX_BATCH_EVENTS, EventBatch
from tests.signed import ENVIRONMENT, OTHER_ENVIRONMENT


class Plane:
    """Takes batches, or does not."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, int, EventBatch]] = []
        self.fault: Exception | None = None
        self.loses_answers = False

    def __call__(self, environment_id: str, seq: int, batch: EventBatch) -> None:
        if self.fault is not None:
            raise self.fault
        self.batches.append((environment_id, seq, batch))
        if self.loses_answers:
            raise UnsentError("the answer is lost")

    @property
    def details(self) -> list[str]:
        """Of every distinct event, in the order of their coming."""
        seen = {event.id: event.detail for _, _, batch in self.batches for event in batch.events}
        return list(seen.values())


@pytest.fixture
def plane() -> Plane:
    return Plane()


def step(seq: int, detail: str) -> Progress:
    return Progress(seq, "apply:step", "pull", "end", detail)


def test_events_go_in_order_and_the_receipt_with_the_last(tmp_path: Path, plane: Plane) -> None:
    reporter = Reporter(tmp_path, plane)
    for number in range(3):
        reporter.add(ENVIRONMENT, step(1, str(number)))
    reporter.add_receipt(ENVIRONMENT, 1, b"{}")
    assert reporter.deliver()
    assert plane.details == ["0", "1", "2"]
    [(environment_id, seq, batch)] = plane.batches
    assert (environment_id, seq, batch.receipt) == (ENVIRONMENT, 1, base64text.to_text(b"{}"))
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_delivered_survives_the_agent(tmp_path: Path, plane: Plane) -> None:
    plane.fault = UnsentError("away")
    first = Reporter(tmp_path, plane)
    first.add(ENVIRONMENT, step(1, "a"))
    first.add_receipt(ENVIRONMENT, 1, b"{}")
    assert not first.deliver()
    plane.fault = None
    acknowledged: list[tuple[str, int]] = []
    second = Reporter(tmp_path, plane, acknowledged=lambda *of: acknowledged.append(of))
    second.add(ENVIRONMENT, step(1, "b"))
    assert second.deliver()
    assert plane.details == ["a", "b"]
    assert acknowledged == [(ENVIRONMENT, 1)]


def test_a_batch_whose_answer_was_lost_is_sent_again_with_the_same_ids(tmp_path: Path, plane: Plane) -> None:
    reporter = Reporter(tmp_path, plane)
    reporter.add(ENVIRONMENT, step(1, "a"))
    plane.loses_answers = True
    assert not reporter.deliver()
    plane.loses_answers = False
    assert reporter.deliver()
    first, second = (batch.events for _, _, batch in plane.batches)
    assert first == second


def test_many_events_go_in_batches_and_the_receipt_in_the_last(tmp_path: Path, plane: Plane) -> None:
    reporter = Reporter(tmp_path, plane)
    for number in range(MAX_BATCH_EVENTS + 1):
        reporter.add(ENVIRONMENT, step(1, str(number)))
    reporter.add_receipt(ENVIRONMENT, 1, b"{}")
    assert reporter.deliver()
    assert [len(batch.events) for _, _, batch in plane.batches] == [MAX_BATCH_EVENTS, 1]
    assert [batch.receipt is not None for _, _, batch in plane.batches] == [False, True]
    assert plane.details == [str(number) for number in range(MAX_BATCH_EVENTS + 1)]


def test_what_is_refused_for_good_is_set_aside_and_blocks_nobody(tmp_path: Path, plane: Plane) -> None:
    reporter = Reporter(tmp_path, plane)
    reporter.add(ENVIRONMENT, step(1, "a"))
    plane.fault = RefusedError("not yours")
    assert reporter.deliver()
    plane.fault = None
    reporter.add(OTHER_ENVIRONMENT, step(2, "b"))
    assert reporter.deliver()
    assert plane.details == ["b"]
    assert [path.name for path in tmp_path.iterdir()] == [f"{ENVIRONMENT}.1.events.refused"]


def test_a_line_torn_by_a_crash_costs_itself_only(tmp_path: Path, plane: Plane) -> None:
    Reporter(tmp_path, plane).add(ENVIRONMENT, step(1, "a"))
    spooled = tmp_path / f"{ENVIRONMENT}.1.events"
    spooled.write_bytes(spooled.read_bytes() + b'{"id":"torn')
    reporter = Reporter(tmp_path, plane)
    reporter.repair()
    reporter.add(ENVIRONMENT, step(1, "b"))
    assert reporter.deliver()
    assert plane.details == ["a", "b"]


def test_a_spool_of_nothing_but_rubbish_is_emptied(tmp_path: Path, plane: Plane) -> None:
    (tmp_path / f"{ENVIRONMENT}.1.events").write_bytes(b"rubbish\n")
    assert Reporter(tmp_path, plane).deliver()
    assert list(tmp_path.iterdir()) == []


def test_progress_is_thinned_and_steps_are_not(tmp_path: Path, plane: Plane) -> None:
    reporter = Reporter(tmp_path, plane)
    for number in range(50):
        reporter.add(ENVIRONMENT, Progress(1, "apply:progress", "pull", "begin", f"{number} MB"))
        reporter.add(ENVIRONMENT, step(1, str(number)))
    assert reporter.deliver()
    assert sum(detail.endswith("MB") for detail in plane.details) == 1
    assert sum(not detail.endswith("MB") for detail in plane.details) == 50


def test_a_full_disk_loses_an_event_and_not_the_apply(
    tmp_path: Path, plane: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    reporter = Reporter(tmp_path, plane)
    monkeypatch.setattr("nodeagent.files.append_line", full)
    reporter.add(ENVIRONMENT, step(1, "a"))

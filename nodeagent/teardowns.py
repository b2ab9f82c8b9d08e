"""Taking an environment down, by the order to stop or to retire it: its data, files and history stay."""

from __future__ import annotations

import dataclasses
import time
from typing import Literal

from . import applies
from .bundles import Bundle, network
from .faults import ApplyError
from .hands import Hands
from .haproxy import ProxyError
from .ports import Outcome, Report

Action = Literal["stop", "retire"]


def take_down(hands: Hands, environment_id: str, seq: int, action: Action, report: Report) -> Outcome:
    """Routes away, containers stopped with their grace and removed, network and mounts gone, no `current` any more.

    Safe to repeat from the beginning, which is what happens after a crash.
    """
    record = applies.Record(hands.store.journal(environment_id, seq), seq, report)
    try:
        with record.step("verify", kind="apply:begin", begin={"action": action}):
            bundle = _serving(hands, environment_id)
        with record.step("routes"):
            applies.take_routes_away(hands, environment_id)
        with record.step("stop-old"):
            applies.remove_containers(hands, environment_id, bundle)
            hands.engine.remove_network(network(environment_id))
        with record.step("volumes"):
            hands.mounts.unmount(environment_id)
        with record.step("pointer"):
            hands.store.clear_current(environment_id)
            if action == "retire":
                hands.sites.give_back(environment_id)
        outcome = _outcome(record, seq, "stopped" if action == "stop" else "retired")
    except (ApplyError, ProxyError) as error:
        serving = hands.store.current(environment_id) or 0
        outcome = dataclasses.replace(
            _outcome(record, seq, "failed"), code=error.code, summary=str(error), serving_seq=serving
        )
    record.write("done", "begin")
    record.write("done", "end", outcome=dataclasses.asdict(outcome))
    return outcome


def _serving(hands: Hands, environment_id: str) -> Bundle | None:
    """For the order in which to stop; where its files are gone, everything is stopped at once."""
    try:
        return hands.serving(environment_id)
    except ApplyError:
        return None


def _outcome(record: applies.Record, seq: int, name: Literal["stopped", "retired", "failed"]) -> Outcome:
    return Outcome(
        seq=seq,
        outcome=name,
        code="",
        summary="",
        serving_seq=0,
        started_at=record.started_at,
        finished_at=int(time.time()),
        timings_ms=dict(record.timings_ms),
    )

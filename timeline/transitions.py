"""The one way to change a state: a conditional UPDATE and its event in the same transaction."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from django.db import connection, models

from . import events

Edges = Mapping[Any, Mapping[Any, str]]


class ForbiddenEdge(Exception):
    """A move that the table of edges does not have: a bug in the caller, never a race."""

    def __init__(self, noun: str, was: object, to: object):
        self.noun, self.was, self.to = noun, was, to

    def __str__(self) -> str:
        return f"A {self.noun} cannot go from {self.was} to {self.to}; the table of its edges does not have that move."


class Stateful(Protocol):
    """A row with a state machine: which field holds the state, the edges, and where its events belong."""

    NOUN: str
    STATE_FIELD: str
    EDGES: Edges
    pk: Any

    def event_place(self) -> events.Place: ...


def transition(
    row: Any,
    *,
    to: StrEnum,
    by: Mapping[str, Any] | None = None,
    data: Mapping[str, Any] | None = None,
    severity: str = "info",
    **changes: Any,
) -> bool:
    """Take one edge from the state that `row` was read in, write `changes` along, and record `{noun}:{to}`.

    Answers False when somebody else was first (the row in the database has another state by now): losing is no error,
    and the caller decides what it means. The row in memory follows only when the move was made.
    Raises ForbiddenEdge for a move that the table does not have, RuntimeError outside a transaction.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("transition() belongs in a transaction: the state and its event are written together")
    model: type[models.Model] = type(row)
    was = getattr(row, row.STATE_FIELD)
    if to not in row.EDGES.get(was, {}):
        raise ForbiddenEdge(row.NOUN, was, to)
    moved = model._default_manager.filter(pk=row.pk, **{row.STATE_FIELD: was}).update(
        **{row.STATE_FIELD: to}, **changes
    )
    if not moved:
        return False
    for name, value in {row.STATE_FIELD: to, **changes}.items():
        setattr(row, name, value)
    events.record(
        **row.event_place(),
        subject=(row.NOUN, row.pk),
        kind=f"{row.NOUN}:{to}",
        severity=severity,
        by=by,
        data={"was": str(was), **(data or {})},
    )
    return True

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest
from django.db import connection, transaction

from deployments.domain import states
from deployments.domain.states import EnvironmentState
from deployments.models import Environment
from timeline import events
from timeline.transitions import ForbiddenEdge, transition


def test_a_move_and_its_event_are_written_together(environment: Environment) -> None:
    with transaction.atomic():
        assert transition(environment, to=EnvironmentState.STOPPING, by={"operator": "ada"})
    assert Environment.objects.get().state == "stopping"
    event = events.of_subject("environment", environment.pk).last()
    assert event is not None and (event.kind, event.by, event.data) == (
        "environment:stopping",
        {"operator": "ada"},
        {"was": "active"},
    )


def test_an_edge_that_the_table_does_not_have_is_a_bug(environment: Environment) -> None:
    with transaction.atomic(), pytest.raises(ForbiddenEdge, match="from active to retired"):
        transition(environment, to=EnvironmentState.RETIRED)


@pytest.mark.django_db(transaction=True)
def test_a_move_outside_a_transaction_is_refused(environment: Environment) -> None:
    with pytest.raises(RuntimeError, match="belongs in a transaction"):
        transition(environment, to=EnvironmentState.STOPPING)


@pytest.mark.django_db(transaction=True)
def test_of_eight_who_take_the_same_edge_one_wins_and_writes_the_event(environment: Environment) -> None:
    won: list[bool] = []

    def move() -> None:
        try:
            row = Environment.objects.get(pk=environment.pk)
            barrier.wait(timeout=10)
            with transaction.atomic():
                won.append(transition(row, to=EnvironmentState.STOPPING))
        finally:
            connection.close()

    barrier = threading.Barrier(8)
    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(won) == [False] * 7 + [True]
    assert events.of_subject("environment", environment.pk).filter(kind="environment:stopping").count() == 1


@pytest.mark.parametrize(
    "edges",
    [states.RELEASE_EDGES, states.ORDER_EDGES, states.ENVIRONMENT_EDGES, states.NODE_EDGES, states.VOLUME_EDGES],
)
def test_every_state_but_the_first_can_be_reached(edges: dict[object, dict[object, str]]) -> None:
    all_states = set(type(next(iter(edges))))  # type: ignore[call-overload]
    first = next(iter(edges))
    reached, front = {first}, [first]
    while front:
        for to in edges.get(front.pop(), {}):
            if to not in reached:
                reached.add(to)
                front.append(to)
    assert reached == all_states


def _who(edges: dict[object, dict[object, str]]) -> Iterable[str]:
    return (who for row in edges.values() for who in row.values())


def test_every_edge_says_who_takes_it() -> None:
    for table in (
        states.RELEASE_EDGES,
        states.ORDER_EDGES,
        states.ENVIRONMENT_EDGES,
        states.NODE_EDGES,
        states.VOLUME_EDGES,
    ):
        assert all(_who(table))  # type: ignore[arg-type]

"""The plan, carried out on a model of a node: it converges, and what serves is left alone until the switch."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from nodeagent.planner import (
    Create,
    Desired,
    Remove,
    Retire,
    RunPreFlight,
    Seen,
    Situation,
    Start,
    Step,
    Switch,
    Wanted,
    depths,
    plan,
    start_order,
)

NAMES = ("api", "db", "seed", "web")


@st.composite
def releases(draw: st.DrawFn, seq: int = 2) -> Desired:
    """A release over some of four services; dependencies point to names before their own, so there are no cycles."""
    names = sorted(draw(st.sets(st.sampled_from(NAMES), min_size=1)))
    services = {}
    for index, name in enumerate(names):
        job = draw(st.booleans()) if name == "seed" else False
        on = draw(st.sets(st.sampled_from(names[:index]))) if index else set()
        services[name] = Wanted(
            name=name,
            release=draw(st.integers(1, seq)),
            job=job,
            order=draw(st.sampled_from(["start-first", "stop-first"])),
            depends_on={n: draw(st.sampled_from(["service_started", "service_healthy"])) for n in sorted(on)},
        )
    pre_flight = draw(st.sampled_from(["", *(n for n in names if not services[n].job)]))
    return Desired(seq, services, pre_flight)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    """Containers of a release that serves (1), of a failed or unfinished one, and strangers."""
    serving = dict.fromkeys(draw(st.sets(st.sampled_from(NAMES))), 1)
    containers = []
    for number in range(draw(st.integers(0, 6))):
        completed = draw(st.booleans())
        containers.append(
            Seen(
                id=f"c{number}",
                service=draw(st.sampled_from((*NAMES, "other"))),
                release=draw(st.integers(1, 3)),
                running=not completed and draw(st.booleans()),
                completed=completed,
                sound=draw(st.sampled_from([True, True, False])),
            )
        )
    return Situation(tuple(containers), serving, 1 if serving else 0)


def carried_out(steps: Sequence[Step], desired: Desired, before: Situation) -> Situation:
    """The model: what a node looks like after these steps, all of which succeed."""
    found = {c.id: c for c in before.containers}
    serving, current = dict(before.serving), before.current
    kept = {c.service: c.id for c in before.containers if _is(c, desired) and c.sound}
    for step in steps:
        match step:
            case Remove(container_id) | Retire(container_id):
                del found[container_id]
            case Create(service):
                kept[service] = f"new-{service}"
                found[kept[service]] = Seen(kept[service], service, desired.services[service].release, running=False)
            case Start(service, _, stop_first):
                for old in stop_first:
                    found[old] = dataclasses.replace(found[old], running=False)
                candidates = [c for c in found.values() if c.service == service and _is(c, desired) and c.sound]
                target = next((c for c in candidates if c.id == f"new-{service}"), None) or min(
                    candidates, key=lambda c: (not c.running, not c.completed, c.id)
                )
                job = desired.services[service].job
                found[target.id] = dataclasses.replace(target, running=not job, completed=job)
            case Switch(seq):
                serving, current = {n: w.release for n, w in desired.services.items()}, seq
            case RunPreFlight():
                pass
    return Situation(tuple(found.values()), serving, current)


def _is(container: Seen, desired: Desired) -> bool:
    wanted = desired.services.get(container.service)
    return wanted is not None and wanted.release == container.release


@given(releases(), situations())
def test_a_plan_leads_to_what_was_desired(desired: Desired, situation: Situation) -> None:
    after = carried_out(plan(desired, situation), desired, situation)
    assert plan(desired, after) == []
    for name, wanted in desired.services.items():
        here = [c for c in after.containers if c.service == name]
        if not wanted.job:
            assert [(c.release, c.running, c.sound) for c in here] == [(wanted.release, True, True)]


@given(releases(), situations())
def test_what_serves_is_taken_away_only_behind_the_switch(desired: Desired, situation: Situation) -> None:
    steps = plan(desired, situation)
    switch = next((i for i, s in enumerate(steps) if isinstance(s, Switch)), len(steps))
    served = {c.id for c in situation.containers if situation.serving.get(c.service) == c.release and c.sound}
    for index, step in enumerate(steps):
        if isinstance(step, Retire):
            assert index > switch
        if isinstance(step, Remove):
            doubled = {c.id for c in situation.containers if c.id == step.container_id and c.id in served}
            assert not doubled or any(c.running for c in situation.containers if c.id not in doubled)


@given(releases(), situations())
def test_a_start_first_service_never_stops_its_old_container_before_the_switch(
    desired: Desired, situation: Situation
) -> None:
    for step in plan(desired, situation):
        if isinstance(step, Start) and desired.services[step.service].order == "start-first":
            assert step.stop_first == ()


@given(releases(), situations())
def test_everything_starts_behind_what_it_waits_for(desired: Desired, situation: Situation) -> None:
    steps = [s for s in plan(desired, situation) if isinstance(s, Start)]
    places = {step.service: index for index, step in enumerate(steps)}
    for step in steps:
        assert set(desired.services[step.service].depends_on) <= {name for name, _ in step.after}
        for name, _ in step.after:
            assert places.get(name, -1) < places[step.service]


@given(releases(), situations())
def test_the_pre_flight_runs_before_its_service_and_behind_what_that_needs(
    desired: Desired, situation: Situation
) -> None:
    steps = plan(desired, situation)
    runs = [i for i, s in enumerate(steps) if isinstance(s, RunPreFlight)]
    assert len(runs) == (1 if desired.pre_flight and situation.current != desired.seq else 0)
    for index in runs:
        service = desired.services[desired.pre_flight]
        for place, step in enumerate(steps):
            if isinstance(step, Start) and step.service == service.name:
                assert place > index
            if isinstance(step, Start) and step.service in service.depends_on:
                assert place < index


@given(releases(seq=1))
def test_nothing_is_done_where_all_is_as_it_should_be(desired: Desired) -> None:
    serving = {n: w.release for n, w in desired.services.items()}
    containers = tuple(Seen(n, n, w.release, running=not w.job, completed=w.job) for n, w in desired.services.items())
    assert plan(desired, Situation(containers, serving, desired.seq)) == []


def test_a_volumes_service_waits_until_all_that_does_not_need_it_is_good() -> None:
    services = {
        "db": Wanted("db", 2, order="stop-first"),
        "cache": Wanted("cache", 2),
        "web": Wanted("web", 2, depends_on={"db": "service_healthy"}),
    }
    old = tuple(Seen(f"old-{n}", n, 1, running=True) for n in services)
    steps = plan(Desired(2, services), Situation(old, dict.fromkeys(services, 1), 1))
    assert [s for s in steps if isinstance(s, Start)] == [
        Start("cache"),
        Start("db", (("cache", "ready"),), ("old-db",)),
        Start("web", (("db", "service_healthy"),)),
    ]


def test_leftovers_of_a_failed_attempt_go_and_its_completed_jobs_stay() -> None:
    services = {"web": Wanted("web", 2), "seed": Wanted("seed", 2, job=True)}
    found = (Seen("half", "web", 2, running=True), Seen("done", "seed", 2, running=False, completed=True))
    assert plan(Desired(2, services), Situation(found)) == [Remove("half"), Create("web"), Start("web"), Switch(2)]


def test_a_container_with_another_image_is_replaced() -> None:
    desired = Desired(1, {"web": Wanted("web", 1)})
    forged = Situation((Seen("forged", "web", 1, running=True, sound=False),), {"web": 1}, 1)
    assert plan(desired, forged) == [Create("web"), Start("web"), Switch(1), Retire("forged")]


def test_depths_and_order_follow_the_dependencies() -> None:
    services = {"web": Wanted("web", 1, depends_on={"api": "service_started"}), "api": Wanted("api", 1)}
    assert start_order(services) == ["api", "web"]
    assert depths({n: w.depends_on for n, w in services.items()}) == {"web": 1, "api": 0}

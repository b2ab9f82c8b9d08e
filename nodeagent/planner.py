"""The plan of an apply: from what should run and what runs to the steps between, without touching anything.

Applying, reverting and recovering are one thing here: converge to a release, which for a revert is the one that served
before (or none). That is why a crash at any moment is repaired by planning again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Order = Literal["start-first", "stop-first"]
Condition = Literal["service_started", "service_healthy", "service_completed_successfully", "ready"]
"""Compose's three, and `ready`: whatever being good means for that service, its settle time included."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A service as it should be; `release` is its label, by which a container of it is known."""

    name: str
    release: int
    job: bool = False
    order: Order = "start-first"
    depends_on: Mapping[str, Condition] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Desired:
    """The release to converge to. `pre_flight` names the service in whose image a command runs before the switch."""

    seq: int
    services: Mapping[str, Wanted]
    pre_flight: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A container as it is. `sound`: its image is the one that its release names."""

    id: str
    service: str
    release: int
    running: bool
    completed: bool = False
    sound: bool = True


@dataclass(frozen=True, slots=True)
class Situation:
    """What is there. `serving` has the labels of the release that was committed last (service -> release), and
    `current` its sequence, 0 if nothing is: containers of other labels are leftovers of something unfinished."""

    containers: tuple[Seen, ...] = ()
    serving: Mapping[str, int] = field(default_factory=dict)
    current: int = 0


@dataclass(frozen=True, slots=True)
class Remove:
    """Take away a container that serves nobody: a leftover."""

    container_id: str


@dataclass(frozen=True, slots=True)
class Create:
    """Make a container for the service, not started."""

    service: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start the service's container once each of `after` holds. `stop_first` are containers that must have stopped
    before it (their volume is about to change hands); they stay, to be started again by a revert."""

    service: str
    after: tuple[tuple[str, Condition], ...] = ()
    stop_first: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPreFlight:
    """Run the pre-flight command to its end, once each of `after` holds."""

    service: str
    after: tuple[tuple[str, Condition], ...] = ()


@dataclass(frozen=True, slots=True)
class Switch:
    """Judge every service, give the new containers their names, switch the routes, and make the release current."""

    seq: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Stop with grace and take away a container that served until the switch."""

    container_id: str


Step = Remove | Create | Start | RunPreFlight | Switch | Retire


def plan(desired: Desired, situation: Situation) -> list[Step]:
    """The steps from what is to what should be, in order; none when they agree.

    Before the Switch nothing that serves is touched, save the containers that a stop-first service replaces, and those
    only after everything that does not need that service is good.
    """
    kept = {name: _keeper(wanted, situation) for name, wanted in desired.services.items()}
    kept_ids = {seen.id for seen in kept.values() if seen}
    old = [c for c in situation.containers if c.id not in kept_ids and _served(c, situation)]
    leftovers = [c for c in situation.containers if c.id not in kept_ids and c not in old]
    missing = [w for w in desired.services.values() if not kept[w.name] and _needed(w, situation)]
    asleep = [w for w in desired.services.values() if (seen := kept[w.name]) and not seen.running and not w.job]
    starts = _starts(desired, [*missing, *asleep], old, situation)
    changes = bool(missing or old or leftovers or situation.current != desired.seq)
    return [
        *(Remove(c.id) for c in leftovers),
        *(Create(w.name) for w in sorted(missing, key=lambda w: w.name)),
        *starts,
        *([Switch(desired.seq)] if changes else []),
        *(Retire(c.id) for c in old),
    ]


def _served(container: Seen, situation: Situation) -> bool:
    return situation.serving.get(container.service) == container.release


def _needed(wanted: Wanted, situation: Situation) -> bool:
    """A job that was completed by the release that serves stays completed, also when somebody cleaned up after it."""
    return not (wanted.job and situation.serving.get(wanted.name) == wanted.release)


def _keeper(wanted: Wanted, situation: Situation) -> Seen | None:
    """The one container that already is what the service should be; a running one before others.

    Of a release that was never committed only completed jobs are believed: everything else is made anew, for its values
    may be older than the payload at hand.
    """
    committed = situation.serving.get(wanted.name) == wanted.release
    fit = [
        c
        for c in situation.containers
        if (c.service, c.release) == (wanted.name, wanted.release)
        and c.sound
        and (committed or (wanted.job and c.completed))
    ]
    return min(fit, key=lambda c: (not c.running, not c.completed, c.id), default=None)


def _starts(
    desired: Desired, starting: Sequence[Wanted], old: Sequence[Seen], situation: Situation
) -> list[Start | RunPreFlight]:
    """Starts in an order in which each follows what it waits for, the pre-flight command as early as it can be."""
    names = {w.name for w in starting}
    stopped_for = {
        w.name: tuple(c.id for c in old if c.service == w.name and c.running)
        for w in starting
        if w.order == "stop-first"
    }
    interrupting = {name for name, ids in stopped_for.items() if ids}
    behind = _dependants(desired, interrupting)
    harmless = sorted(names - behind)
    rest = [n for n in start_order(desired.services) if n in names]

    def start(name: str) -> Start:
        after = dict(desired.services[name].depends_on)
        if name in interrupting:
            after |= {other: "ready" for other in harmless if other not in after}
        return Start(name, tuple(sorted(after.items())), stopped_for.get(name, ()))

    if not _runs_pre_flight(desired, situation):
        return [start(n) for n in _interrupting_last(rest, behind)]
    early = _dependencies(desired, desired.pre_flight)
    condition = tuple(sorted(desired.services[desired.pre_flight].depends_on.items()))
    return [
        *(start(n) for n in _interrupting_last([n for n in rest if n in early], behind)),
        RunPreFlight(desired.pre_flight, condition),
        *(start(n) for n in _interrupting_last([n for n in rest if n not in early], behind)),
    ]


def _interrupting_last(names: Sequence[str], behind: Collection[str]) -> list[str]:
    return [n for n in names if n not in behind] + [n for n in names if n in behind]


def _runs_pre_flight(desired: Desired, situation: Situation) -> bool:
    """Once for each release that is made current, whatever it changes; not when a release is only brought back up."""
    return bool(desired.pre_flight) and situation.current != desired.seq


def start_order(services: Mapping[str, Wanted]) -> list[str]:
    """All services, each behind those that it depends on; equal ones by name. There are no cycles: the parser refuses
    them."""
    ordered: list[str] = []

    def visit(name: str) -> None:
        if name in ordered or name not in services:
            return
        for dependency in sorted(services[name].depends_on):
            visit(dependency)
        ordered.append(name)

    for name in sorted(services):
        visit(name)
    return ordered


def depths(depends_on: Mapping[str, Iterable[str]]) -> dict[str, int]:
    """How many services each one stands upon, one on the other: what stops first has the highest number."""
    found: dict[str, int] = {}

    def depth(name: str) -> int:
        if name not in found:
            found[name] = max((1 + depth(n) for n in depends_on[name] if n in depends_on), default=0)
        return found[name]

    for name in depends_on:
        depth(name)
    return found


def with_dependencies(names: Iterable[str], depends_on: Mapping[str, Iterable[str]]) -> set[str]:
    """These services and everything that must be there before them."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found and name in depends_on:
            found.add(name)
            waiting += depends_on[name]
    return found


def _dependencies(desired: Desired, name: str) -> set[str]:
    """Everything that must be there before this service, without itself."""
    return with_dependencies([name], {n: w.depends_on for n, w in desired.services.items()}) - {name}


def _dependants(desired: Desired, names: Iterable[str]) -> set[str]:
    """These services and all that depend on them."""
    roots = set(names)
    return {n for n in desired.services if n in roots or _dependencies(desired, n) & roots}

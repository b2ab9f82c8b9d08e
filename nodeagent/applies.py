"""An apply: one release made current, step by step, each journaled before and after; or undone, and the reason kept.

The outcome is decided when `current` moves (or when a revert has ended). What follows a success, draining and stopping
the old containers, is journaled as well but nobody waits for it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from . import convergence, evidence, images, journals, planner
from .bundles import Bundle, network
from .convergence import Convergence
from .faults import ApplyError, Interrupted
from .hands import Hands
from .haproxy import ProxyError
from .planner import Create, Remove, Retire, RunPreFlight, Start, Step
from .ports import Cancellation, Outcome, Progress, Report
from .redaction import Redactor
from .routes import Closing, observed
from .store import Journal
from .wire.events import Kind
from .wire.heartbeat import RouteObserved
from .wire.receipt import ServiceEvidence

REVERT_PATIENCE_SECONDS = 60.0


class Patience(Cancellation):
    """Lets a convergence that nobody can cancel end after so many seconds."""

    def __init__(self, seconds: float):
        super().__init__()
        self._until = time.monotonic() + seconds
        self.code = "apply.patience"

    def is_set(self) -> bool:
        return time.monotonic() > self._until

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(timeout or 0)
        return self.is_set()


class Record:
    """The journal of one sequence, and what is reported beside it."""

    def __init__(self, journal: Journal, seq: int, report: Report):
        self._journal = journal
        self._seq = seq
        self._report = report
        self.started_at = int(time.time())
        self.timings_ms: dict[str, int] = {}

    @contextlib.contextmanager
    def step(
        self, name: str, *, kind: Kind = "apply:step", begin: Mapping[str, Any] | None = None
    ) -> Iterator[dict[str, Any]]:
        """Journal the step's beginning and its end, or that it failed. What the body puts into the mapping that it is
        given goes into the line of the end."""
        end: dict[str, Any] = {}
        began = time.monotonic()
        self.write(name, "begin", kind=kind, **(begin or {}))
        try:
            yield end
        except (ApplyError, ProxyError) as error:
            self.write(name, "failed", kind=kind, detail=str(error), code=error.code)
            raise
        finally:
            self.timings_ms[name] = self.timings_ms.get(name, 0) + round((time.monotonic() - began) * 1000)
        self.write(name, "end", kind=kind, **end)

    def write(
        self, step: str, state: journals.State, *, kind: Kind = "apply:step", detail: str = "", **more: Any
    ) -> None:
        """One line on disk, then one event."""
        journals.write(self._journal, step, state, **({"detail": detail} if detail else {}), **more)
        self._report(Progress(self._seq, kind, step, state, detail, "error" if state == "failed" else "info"))

    def progress(self, step: str, detail: str) -> None:
        """Something moved. Not worth a line of the journal."""
        self._report(Progress(self._seq, "apply:progress", step, "begin", detail))


@dataclasses.dataclass(slots=True)
class Trailing:
    """What is left to do once a release is current."""

    old: list[str]
    closing: list[Closing]


class Apply:
    """One release on its way to `current`. `run` raises nothing for what goes wrong: it answers an outcome."""

    def __init__(self, hands: Hands, environment_id: str, seq: int, *, cancel: Cancellation, report: Report):
        self._hands = hands
        self._environment_id = environment_id
        self._seq = seq
        self._cancel = cancel
        self._record = Record(hands.store.journal(environment_id, seq), seq, report)
        self._bundle: Bundle | None = None
        self._serving: Bundle | None = None
        self._redactor = Redactor(())
        self._way: Convergence | None = None
        self.trailing: Trailing | None = None
        """Set once the release is current: the caller sees to it, in its own time."""

    def run(self) -> Outcome:
        """From the files on disk to `current`, or back."""
        try:
            self._prepare()
            self._bring_up()
            return self._commit()
        except (ApplyError, ProxyError) as error:
            return self._revert(error)

    def finish(self, previous: int) -> Outcome:
        """Go on where a crash ended it, between the settle time and `current`: the routes may lead to it already, so
        its containers are not leftovers. `previous` is what was current before, 0 for nothing."""
        try:
            self._serving = self._open()
            self._way = way = self._new_way()
            with self._record.step("health"):
                steps = way.plan()
                way.create([s for s in steps if not isinstance(s, Remove | Create)], {}, self._redactor)
                way.wait(way.watch.is_good)
            return self._commit()
        except (ApplyError, ProxyError) as error:
            self._point_back(previous)
            return self._revert(error)

    def _point_back(self, previous: int) -> None:
        """`current` may have moved in the moment of the crash; nobody has been told."""
        if previous:
            self._hands.store.set_current(self._environment_id, previous)
        else:
            self._hands.store.clear_current(self._environment_id)

    def tidy(self) -> None:
        """After `current` moved: let the old containers finish what they are at, then take them away. Nothing that goes
        wrong here changes the outcome; the next start goes on with it."""
        if self._way is None or self.trailing is None:
            return
        with self._record.step("stop-old"):
            self._hands.proxy.drain(self.trailing.closing)
            self._way.retire(self.trailing.old)
        self.close()

    def close(self) -> None:
        """The last line of a successful apply, with images cleaned up before it as far as that goes."""
        with self._record.step("done"), contextlib.suppress(ApplyError):
            self._hands.images.clean(self._hands.protected_images())

    # Up to the images

    def _prepare(self) -> None:
        record = self._record
        previous = self._hands.store.current(self._environment_id) or 0
        with record.step("verify", kind="apply:begin", begin={"action": "apply", "previous": previous}):
            bundle = self._open()
        missing = self._hands.images.missing(s.image for s in bundle.services.values())
        with record.step("disk"):
            if missing:
                self._make_room()
        with record.step("volumes"):
            self._hands.mounts.mount(self._environment_id, bundle.volumes)
        with record.step("login"):
            sealed = self._hands.unseal(self._environment_id, self._seq)
            logins = {login.host: login for login in sealed.registries}
        with record.step("pull"):
            self._hands.images.pull(
                missing, logins, progress=lambda said: record.progress("pull", said), cancelled=self._check_cancelled
            )

    def _open(self) -> Bundle:
        """Read the files; the sealed part opens now, so that nothing is begun that could not be finished."""
        serving = self._hands.store.current(self._environment_id)
        self._serving = self._hands.serving(self._environment_id)
        self._bundle = self._hands.bundle(self._environment_id, self._seq)
        self._hands.unseal(self._environment_id, self._seq)
        self._redactor = self._hands.redactor(self._environment_id, {self._seq, *([serving] if serving else [])})
        return self._bundle

    def _loaded(self) -> Bundle:
        if self._bundle is None:
            raise ApplyError("release.unreadable", f"The files of release {self._seq} are not read.")
        return self._bundle

    def _make_room(self) -> None:
        directory = self._hands.engine.root_dir()
        try:
            images.check_space(directory)
        except ApplyError:
            self._hands.images.clean(self._hands.protected_images())
            images.check_space(directory)

    def _check_cancelled(self) -> None:
        if self._cancel.is_set():
            self._new_way().check_cancelled()

    # Containers

    def _new_way(self) -> Convergence:
        return Convergence(self._hands, self._loaded(), serving=self._serving, cancel=self._cancel)

    def _bring_up(self) -> None:
        way = self._way = self._new_way()
        with self._record.step("create"):
            way.check_cancelled()
            steps = way.plan()
            way.remove_leftovers(steps)
            self._hands.mounts.fill(self._hands.engine, self._loaded())
            way.create(steps, convergence.values(self._hands, self._environment_id, self._seq), self._redactor)
        for name, group in _phases(steps):
            with self._record.step(name):
                way.start(group)
        with self._record.step("health"):
            way.wait(way.watch.is_good)
        with self._record.step("settle"):
            way.wait(way.watch.is_settled)

    def _commit(self) -> Outcome:
        """Names, routes, `current`: from its end on, this is what serves."""
        way = self._way or self._new_way()
        way.check_cancelled()
        with self._record.step("routes"):
            way.take_names()
            closing = way.switch_routes()
        with self._record.step("pointer") as end:
            self._hands.store.set_current(self._environment_id, self._seq)
            outcome = self._outcome("live", "", "", self._seq, self._evidence(with_logs=False))
            end["outcome"] = dataclasses.asdict(outcome)
        self.trailing = Trailing(self._old_containers(), closing)
        return dataclasses.replace(outcome, timings_ms=dict(self._record.timings_ms))

    def _old_containers(self) -> list[str]:
        """Everything of the environment that the release which is current now did not keep."""
        kept = {c.id for c in self._way.watch.containers.values()} if self._way else set()
        return [c.id for c in self._hands.engine.of_environment(self._environment_id) if c.id not in kept]

    def _outcome(
        self,
        outcome: Any,
        code: str,
        summary: str,
        serving_seq: int,
        services: Mapping[str, ServiceEvidence],
    ) -> Outcome:
        return Outcome(
            seq=self._seq,
            outcome=outcome,
            code=code,
            summary=summary[:4000],
            serving_seq=serving_seq,
            started_at=self._record.started_at,
            finished_at=int(time.time()),
            services=services,
            routes_served=self._routes(serving_seq),
            timings_ms=dict(self._record.timings_ms),
        )

    def _routes(self, serving_seq: int) -> tuple[RouteObserved, ...]:
        bundle = self._bundle if serving_seq == self._seq else self._serving
        if not serving_seq or bundle is None:
            return ()
        return tuple(observed(self._hands.sites, self._environment_id, bundle.routes))

    def _evidence(self, *, with_logs: bool) -> dict[str, ServiceEvidence]:
        if self._bundle is None or self._way is None:
            return {}
        way, engine = self._way, self._hands.engine
        with contextlib.suppress(ApplyError):
            way.watch.look()
        meanings = {name: verdict.meaning for name, verdict in way.watch.verdicts.items()}
        found = evidence.gather(
            engine, self._bundle, way.watch.containers, meanings, redact=self._redactor.redact, with_logs=with_logs
        )
        if way.pre_flight and self._bundle.pre_flight:
            container, tail = way.pre_flight
            service = self._bundle.services[self._bundle.pre_flight.service]
            found[service.name] = evidence.of_container(engine, service, container, convergence.PRE_FLIGHT, tail)
        return found

    # Back

    def _revert(self, error: ApplyError | ProxyError) -> Outcome:
        """Take back what was begun: evidence first, then the new containers go and the old release serves as before."""
        code, sentence = error.code, self._redactor.redact(str(error))
        evidence_found: Mapping[str, ServiceEvidence] = {}
        with contextlib.suppress(ApplyError):
            evidence_found = self._evidence(with_logs=True)
        name = "cancelled" if isinstance(error, Interrupted) and code != "apply.deadline" else "failed"
        serving = self._hands.store.current(self._environment_id) or 0
        draft = self._outcome(name, code, sentence, serving, evidence_found)
        return self.undo(draft)

    def give_up(self) -> Outcome:
        """Revert a sequence in whose apply the agent was killed again and again."""
        tries = journals.MAX_ATTEMPTS
        with contextlib.suppress(ApplyError):
            self._open()
        return self._revert(ApplyError("apply.crashed", f"The agent was ended {tries} times while it applied this."))

    def undo(self, draft: Outcome) -> Outcome:
        """Revert with this outcome. Also what a start after a crash in the middle of a revert calls, with the draft
        that the journal kept."""
        record = self._record
        record.write("revert", "begin", kind="apply:revert", detail=draft.summary, draft=dataclasses.asdict(draft))
        began = time.monotonic()
        try:
            self._serving = self._hands.serving(self._environment_id)
            after = self._back_to_serving()
        except (ApplyError, ProxyError) as error:
            after = f"Reverting did not succeed either ({error.code}): {self._redactor.redact(str(error))}"
        record.timings_ms["revert"] = round((time.monotonic() - began) * 1000)
        outcome = dataclasses.replace(
            draft,
            summary=f"{_sentence(draft.summary)} {after}".strip()[:4000],
            finished_at=int(time.time()),
            timings_ms={**draft.timings_ms, **record.timings_ms},
        )
        record.write("revert", "end", kind="apply:revert", detail=outcome.summary, outcome=dataclasses.asdict(outcome))
        return outcome

    def _back_to_serving(self) -> str:
        """Converge to the release that is current, with its own secrets; without one, to nothing. A sentence on it."""
        if self._serving is None:
            clear(self._hands, self._environment_id)
            return "Nothing serves."
        stay = Patience(REVERT_PATIENCE_SECONDS)
        way = Convergence(self._hands, self._serving, serving=self._serving, cancel=stay)
        bring_back(self._hands, way, self._serving, self._redactor)
        with contextlib.suppress(ApplyError):
            way.wait(way.watch.is_good)
            return f"Release {self._serving.seq} serves."
        return f"Release {self._serving.seq} is current and not healthy."


def _sentence(text: str) -> str:
    """With a full stop, which what Docker says lacks."""
    return text if text.rstrip().endswith((".", "!", "?")) or not text.strip() else f"{text.rstrip()}."


def bring_back(hands: Hands, way: Convergence, bundle: Bundle, redactor: Redactor) -> None:
    """Make the release that is current run as it should: nothing that is right is touched."""
    steps = way.plan()
    hands.mounts.mount(bundle.environment_id, bundle.volumes)
    way.remove_leftovers(steps)
    creates = any(isinstance(s, Create) for s in steps)
    if creates:
        _fetch_again(hands, bundle)
        hands.mounts.fill(hands.engine, bundle)
    way.create(steps, convergence.values(hands, bundle.environment_id, bundle.seq) if creates else {}, redactor)
    starts = [s for s in steps if isinstance(s, Start)]
    try:
        way.start(starts)
    except ApplyError:
        way.start_regardless(starts)
        raise
    finally:
        hands.proxy.drain(way.switch_routes(), 0)
    way.retire([s.container_id for s in steps if isinstance(s, Retire)])


def _fetch_again(hands: Hands, bundle: Bundle) -> None:
    """Pull what somebody removed from under a release that is current; its own credentials may have expired by now."""
    missing = hands.images.missing(s.image for s in bundle.services.values())
    if missing:
        logins = {login.host: login for login in hands.unseal(bundle.environment_id, bundle.seq).registries}
        hands.images.pull(missing, logins, progress=lambda said: None, cancelled=lambda: None)


def clear(hands: Hands, environment_id: str) -> None:
    """Leave nothing of the environment running: routes, containers, network, mounts. Data and files stay."""
    take_routes_away(hands, environment_id)
    remove_containers(hands, environment_id, None)
    hands.engine.remove_network(network(environment_id))
    hands.mounts.unmount(environment_id)


def take_routes_away(hands: Hands, environment_id: str) -> None:
    """No request reaches the environment any more; those under way have a moment to end."""
    hands.proxy.ensure_running()
    hands.proxy.drain(hands.proxy.switch(environment_id, {}))


def remove_containers(hands: Hands, environment_id: str, bundle: Bundle | None) -> None:
    """Stop every container with its grace and remove it, those that others depend on last."""
    found = hands.engine.of_environment(environment_id)
    depths = planner.depths({n: s.depends_on for n, s in bundle.services.items()}) if bundle else {}
    for depth in sorted({depths.get(c.service, 0) for c in found}, reverse=True):
        convergence.each(
            lambda c: hands.engine.stop(c), [c for c in found if depths.get(c.service, 0) == depth and c.is_up]
        )
    convergence.each(lambda c: hands.engine.remove(c.id), found)


def _phases(steps: Iterable[Step]) -> Iterator[tuple[str, list[Start | RunPreFlight]]]:
    """Starts and the pre-flight in their order, as journal steps; one that starts nothing has a start step too."""
    starts = [s for s in steps if isinstance(s, Start | RunPreFlight)]
    if not starts:
        yield "start", []
    for is_pre_flight, group in itertools.groupby(starts, lambda s: isinstance(s, RunPreFlight)):
        yield ("pre-flight" if is_pre_flight else "start"), list(group)


def restored(entry: Mapping[str, Any]) -> Outcome:
    """An outcome (or the draft of one) as a journal kept it."""
    services = {name: ServiceEvidence(**found) for name, found in entry["services"].items()}
    routes = tuple(RouteObserved(**route) for route in entry["routes_served"])
    return Outcome(**{**entry, "services": services, "routes_served": routes})

"""Convergence: carries out a plan, so that what runs becomes what a release says. Applying, reverting and starting
again after a boot all go through here; what differs is the release, and who keeps the journal."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from . import bundles, commands, evidence, files, planner, redaction
from .bundles import Bundle
from .containers import ENVIRONMENT, ROLE, SERVICE, Container
from .faults import ApplyError, Interrupted
from .hands import Hands
from .health import Watch
from .planner import Create, Desired, Remove, Retire, RunPreFlight, Seen, Situation, Start, Step, Wanted
from .ports import Cancellation
from .routes import Closing
from .wire.sealed import values_of

LOOK_SECONDS = 0.05
COMPOSE_TIMEOUT_SECONDS = 120
PARALLEL = 4
LEFTOVER_GRACE_SECONDS = 10
PRE_FLIGHT = "pre-flight"


class Convergence:
    """One environment on its way to one release. Not for several threads; raises ApplyError at what cannot be done.

    `serving` is the release that was committed last, whose containers are left alone until the switch.
    """

    def __init__(self, hands: Hands, bundle: Bundle, *, serving: Bundle | None, cancel: Cancellation):
        self._hands = hands
        self._bundle = bundle
        self._serving = serving
        self._cancel = cancel
        self._network = bundles.network(bundle.environment_id)
        self.watch = Watch(hands.engine, bundle)
        self.pre_flight: tuple[Container, str] | None = None
        """A failed pre-flight's container as it ended, with the end of its log, kept for the evidence."""
        self._redact: evidence.Redact = str

    # Planning

    def plan(self) -> list[Step]:
        """The steps from here. Containers that are no service (a pre-flight of a crashed attempt) are removed first."""
        found = self._hands.engine.of_environment(self._bundle.environment_id)
        for container in found:
            if container.role:
                self._hands.engine.remove(container.id)
        seen = tuple(self._seen(c) for c in found if not c.role)
        situation = Situation(
            containers=seen,
            serving=self._serving.labels if self._serving else {},
            current=self._serving.seq if self._serving else 0,
        )
        return planner.plan(self._desired(), situation)

    def _desired(self) -> Desired:
        services = {
            s.name: Wanted(s.name, s.release, s.job, s.order, s.depends_on) for s in self._bundle.services.values()
        }
        pre_flight = self._bundle.pre_flight
        return Desired(self._bundle.seq, services, pre_flight.service if pre_flight else "")

    def _seen(self, container: Container) -> Seen:
        return Seen(
            id=container.id,
            service=container.service,
            release=container.release,
            running=container.state in ("running", "restarting"),
            completed=container.is_done,
            sound=self._is_sound(container),
        )

    def _is_sound(self, container: Container) -> bool:
        """Whether its image is the one that its release names; one of another release is not asked about."""
        service = self._bundle.services.get(container.service)
        if service is None or service.release != container.release:
            return True
        return self._hands.engine.observed_digest(container, service.digest) == service.digest

    # Containers

    def remove_leftovers(self, steps: Sequence[Step]) -> None:
        """Take away what serves nobody, all at once."""
        each(self._remove, [s.container_id for s in steps if isinstance(s, Remove)])

    def _remove(self, container_id: str) -> None:
        container = self._hands.engine.find(container_id)
        if container is None:
            return
        if container.is_up:
            self._hands.engine.stop(container, LEFTOVER_GRACE_SECONDS)
        self._hands.engine.remove(container_id)

    def create(self, steps: Sequence[Step], values: Mapping[str, str], redact: redaction.Redactor) -> None:
        """Have Compose create what is missing, name it so that no traffic finds it yet, and follow every service."""
        engine, environment_id = self._hands.engine, self._bundle.environment_id
        self._redact = redact.redact
        missing = [s.service for s in steps if isinstance(s, Create)]
        before = [c for c in engine.of_environment(environment_id) if not c.role]
        if missing:
            self._compose(missing, before, values, redact)
        known = {c.id for c in before}
        after = [c for c in engine.of_environment(environment_id) if not c.role] if missing else before
        created = {c.service: c for c in after if c.id not in known}
        if lost := sorted(set(missing) - created.keys()):
            raise ApplyError(
                "compose.incomplete", f"Compose created no container for {', '.join(lost)}.", service=lost[0]
            )
        each(lambda c: self._hide(c, before), list(created.values()))
        self._follow(created, before, steps)

    def _compose(
        self, missing: list[str], before: Sequence[Container], values: Mapping[str, str], redact: redaction.Redactor
    ) -> None:
        environment_id = self._bundle.environment_id
        release_dir = self._hands.store.release_path(environment_id, self._bundle.seq)
        private = Path(tempfile.mkdtemp(prefix=".compose-", dir=release_dir))
        try:
            hidden = {name: self._hidden_name(name) for name in missing if self._must_hide(name, before)}
            override = self._hands.reservations.override(self._bundle, missing, hidden)
            files.replace_file(private / "node.yaml", override.text())
            counts = Counter(c.service for c in before)
            argv = commands.compose_create(
                project=bundles.project(environment_id),
                compose_file=release_dir / "compose.yaml",
                override_file=private / "node.yaml",
                services=missing,
                scales={name: counts[name] + (name in missing) for name in self._drawn_in(missing)},
            )
            environment = commands.compose_environment(
                values, docker_host=self._hands.engine.host, home=private, path=self._hands.search_path
            )
            _run_compose(argv, environment, private, redact)
        finally:
            shutil.rmtree(private, ignore_errors=True)
            self._hands.reservations.release(environment_id)

    def _drawn_in(self, missing: Iterable[str]) -> set[str]:
        """These services and all that they depend on: those that Compose looks at, and the only ones that it lets us
        give a number."""
        names = {n: s.depends_on for n, s in self._bundle.services.items()}
        return planner.with_dependencies(missing, names)

    def _hide(self, container: Container, before: Sequence[Container]) -> None:
        """While another container serves under the service's name, the new one has a name of its own."""
        if self._must_hide(container.service, before):
            self._hands.engine.rename_in(self._network, container, [self._hidden_name(container.service)])

    def _must_hide(self, service: str, before: Sequence[Container]) -> bool:
        """Whether a container serves under this name until the switch."""
        serves = any(c.service == service and c.is_up for c in before)
        return serves and self._bundle.services[service].order == "start-first"

    def _hidden_name(self, service: str) -> str:
        """What the new container is called until the switch, and as its host name for ever: at most 63 characters."""
        return f"{service[:40]}-r{self._bundle.seq}"

    def _follow(self, created: Mapping[str, Container], before: Sequence[Container], steps: Sequence[Step]) -> None:
        started = {s.service for s in steps if isinstance(s, Start)}
        gone = {s.container_id for s in steps if isinstance(s, Remove | Retire)}
        kept = {c.service: c for c in before if c.id not in gone and c.service in self._bundle.services}
        for name in self._bundle.services:
            container = created.get(name) or kept.get(name)
            if container is None:
                self.watch.assume(name, "completed")
            else:
                self.watch.follow(name, container.id, fresh=name in started)

    # Starting

    def start(self, steps: Sequence[Start | RunPreFlight]) -> None:
        """Start everything in its order, each as soon as what it waits for is so, independent ones side by side."""
        pending: list[Start | RunPreFlight] = list(steps)
        with ThreadPoolExecutor(PARALLEL) as pool:
            running: list[Future[None]] = []
            while pending or running:
                self.check_cancelled()
                self.watch.look()
                for step in [s for s in pending if all(self.watch.holds(n, c) for n, c in s.after)]:
                    pending.remove(step)
                    running.append(pool.submit(self._begin, step))
                running = [future for future in running if not _is_finished(future)]
                if pending or running:
                    self._cancel.wait(LOOK_SECONDS)

    def start_regardless(self, steps: Iterable[Start | RunPreFlight]) -> None:
        """Start what is not up, whatever it waits for: at a boot, half an app is better than none."""
        for step in steps:
            container = self.watch.find(step.service)
            if container and not container.is_up and not self._bundle.services[step.service].job:
                with contextlib.suppress(ApplyError):
                    self._guard_volumes(step.service)
                    self._hands.engine.start(container)

    def _begin(self, step: Start | RunPreFlight) -> None:
        if isinstance(step, RunPreFlight):
            self._run_pre_flight(step.service)
            return
        self._guard_volumes(step.service)
        for container_id in step.stop_first:
            if old := self._hands.engine.find(container_id):
                self._hands.engine.stop(old)
        container = self._container(step.service)
        self._hands.engine.start(container)

    def _container(self, service: str) -> Container:
        container = self.watch.find(service)
        if container is None:
            raise ApplyError("service.missing", f"The container of {service} is gone.", service=service)
        return container

    def _guard_volumes(self, service: str) -> None:
        """No container starts on a plain directory where a volume belongs."""
        used = {mount.source for mount in self._bundle.services[service].mounts}
        for volume in self._bundle.volumes:
            root = self._hands.mounts.path(self._bundle.environment_id, volume.name)
            if str(root / "data") in used:
                self._hands.mounts.guard(self._bundle.environment_id, volume)

    def _run_pre_flight(self, service: str) -> None:
        """Run the command in a container like the service's, apart from names, ports, checks and restarts."""
        wanted = self._bundle.pre_flight
        if wanted is None:
            return
        name = f"{bundles.project(self._bundle.environment_id)}-{PRE_FLIGHT}-{self._bundle.seq}"
        engine = self._hands.engine
        container_id = engine.create(_like(self._container(service), wanted.command, self._network), name)
        try:
            if (created := engine.find(container_id)) is not None:
                engine.start(created)
            self._await_pre_flight(container_id, service, wanted.timeout_seconds)
        finally:
            engine.remove(container_id)

    def _await_pre_flight(self, container_id: str, service: str, timeout_seconds: float) -> None:
        deadline = time.monotonic() + timeout_seconds
        while True:
            container = self._hands.engine.find(container_id)
            if container is None:
                raise ApplyError("pre_flight.missing", f"The pre-flight of {service} is gone.", service=service)
            if container.is_done:
                return
            if container.state in ("exited", "dead"):
                self._keep_pre_flight(container)
                raise ApplyError(
                    "pre_flight.failed", f"The pre-flight of {service} ended with exit code {container.exit_code}.",
                    service=service,
                )  # fmt: skip
            if time.monotonic() > deadline:
                self._keep_pre_flight(container)
                raise ApplyError(
                    "pre_flight.timeout", f"The pre-flight of {service} took longer than {timeout_seconds:.0f} s.",
                    service=service,
                )  # fmt: skip
            self.check_cancelled()
            self._cancel.wait(LOOK_SECONDS)

    def _keep_pre_flight(self, container: Container) -> None:
        self.pre_flight = (container, evidence.log_tail(self._hands.engine, container, self._redact))

    # Judging

    def wait(self, until: Callable[[str], bool]) -> None:
        """Look until it holds for every service. Raises ApplyError for the first that goes bad, or when cancelled."""
        while True:
            self.check_cancelled()
            self.watch.look()
            if all(until(name) for name in self._bundle.services):
                return
            self._cancel.wait(LOOK_SECONDS)

    def check_cancelled(self) -> None:
        """Raises Interrupted once the apply is to end."""
        if self._cancel.is_set():
            code = self._cancel.code or "apply.cancelled"
            why = "The apply's deadline has passed" if code == "apply.deadline" else "The release was cancelled"
            raise Interrupted(code, f"{why}.")

    # Switching

    def take_names(self) -> None:
        """Give every container its service's name, then look once more: they left the network for a moment."""
        nameless = [
            c for name, c in self.watch.containers.items()
            if c.is_up and name not in c.aliases and not self._bundle.services[name].job
        ]  # fmt: skip
        each(lambda c: self._hands.engine.rename_in(self._network, c, [c.service]), nameless)
        self.watch.look()
        for name in self._bundle.services:
            if not self.watch.is_good(name):
                raise ApplyError("service.unhealthy", f"{name} is not healthy any more.", service=name)

    def switch_routes(self) -> list[Closing]:
        """Lead every public route to its container; what was led elsewhere is to be drained."""
        self._hands.proxy.ensure_running()
        return self._hands.proxy.switch(self._bundle.environment_id, self._places())

    def _places(self) -> dict[str, int]:
        places: dict[str, int] = {}
        for route in self._bundle.routes:
            if route.mode != "public":
                continue
            container = self.watch.find(route.service)
            port = container.ports.get(route.port) if container else None
            if port is None:
                raise ApplyError(
                    "routes.no_port", f"{route.service} publishes no port {route.port}, which a route needs.",
                    service=route.service,
                )  # fmt: skip
            places[self._hands.sites.place(self._bundle.environment_id, route)] = port
        return places

    def retire(self, container_ids: Iterable[str], *, seconds: int | None = None) -> None:
        """Stop with grace and remove containers that served. They leave their names first, so that no service of the
        environment is sent to one that is about to end."""
        each(lambda container_id: self._retire(container_id, seconds), list(container_ids))

    def _retire(self, container_id: str, seconds: int | None) -> None:
        container = self._hands.engine.find(container_id)
        if container is None:
            return
        if container.is_up:
            if container.service in container.aliases:
                self._hands.engine.rename_in(self._network, container, [])
            self._hands.engine.stop(container, seconds)
        self._hands.engine.remove(container_id)


def each(act: Callable[[Any], None], subjects: Iterable[Any]) -> None:
    """Do it to all, side by side; the first error is raised when all are done."""
    listed = list(subjects)
    if len(listed) < 2:
        for subject in listed:
            act(subject)
        return
    with ThreadPoolExecutor(PARALLEL) as pool:
        for future in [pool.submit(act, subject) for subject in listed]:
            future.result()


def values(hands: Hands, environment_id: str, seq: int) -> dict[str, str]:
    """What Compose gets as its environment for this release."""
    return values_of(hands.unseal(environment_id, seq))


def _is_finished(future: Future[None]) -> bool:
    """Whether it ended well; raises what it raised."""
    if not future.done():
        return False
    future.result()
    return True


def _like(container: Container, command: Sequence[str], network: str) -> dict[str, Any]:
    """A description for a container with the same image, environment, mounts and limits, that runs `command` once."""
    config = dict(container.described["Config"])
    labels = {ENVIRONMENT: container.environment_id, SERVICE: container.service, ROLE: PRE_FLIGHT}
    host = {**container.described["HostConfig"], "PortBindings": {}, "RestartPolicy": {"Name": "no"}}
    kept = ("Image", "Env", "User", "WorkingDir", "Entrypoint", "StopSignal", "StopTimeout", "Hostname")
    return {
        **{key: config[key] for key in kept if config.get(key) is not None},
        "Cmd": list(command),
        "Labels": labels,
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {**host, "NetworkMode": network},
        "NetworkingConfig": {"EndpointsConfig": {network: {}}},
    }


def _run_compose(
    argv: Sequence[str], environment: Mapping[str, str], directory: Path, redact: redaction.Redactor
) -> None:
    """One call of Compose. Its complaint is redacted: it may quote values that it was given."""
    try:
        done = subprocess.run(
            argv, env=dict(environment), cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            errors="replace", timeout=COMPOSE_TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ApplyError(
            "compose.timeout", f"Compose did not end in {COMPOSE_TIMEOUT_SECONDS} s.", retryable=True
        ) from error
    except OSError as error:
        raise ApplyError("compose.missing", f"Docker's command line cannot be run: {error}. Install it.") from error
    if done.returncode != 0:
        said = redact.redact(done.stderr or done.stdout).strip()[-1000:]
        raise ApplyError("compose.create", f"Compose could not create the containers: {said}")

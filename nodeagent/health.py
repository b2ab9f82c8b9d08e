"""What a container's state means for its service: good, not yet, or bad, and for how long it has been so."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from .bundles import Bundle, HttpCheck, Service
from .containers import Container, Engine
from .faults import ApplyError

CHECKED_SETTLE_SECONDS = 1.0
UNCHECKED_SETTLE_SECONDS = 5.0
PROBE_TIMEOUT_SECONDS = 2.0
RECOVERY_SECONDS = 30.0
"""How long a container that no release touches may be unhealthy before the release that needs it fails."""

Judgement = Literal["good", "waiting", "bad"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One look at one service. `meaning` is what healthy meant (`healthy`, `running-no-check`, `completed`), or why
    not (`starting`, `unhealthy`, `exited`, `restarting`, `missing`); `why` is a sentence for a bad one."""

    judgement: Judgement
    meaning: str
    why: str = ""

    @property
    def settle_seconds(self) -> float:
        """How long it must stay good, without a restart, before a release may count on it."""
        return {"healthy": CHECKED_SETTLE_SECONDS, "running-no-check": UNCHECKED_SETTLE_SECONDS}.get(self.meaning, 0.0)


def judge(service: Service, container: Container | None, answered: bool | None, restarts_before: int = 0) -> Verdict:
    """The verdict on a service by its container, and by whether it answered the node's own check (None: not asked).

    `restarts_before` is how often it had restarted when the apply began: one that restarts during it is bad, also
    when Docker brought it back at once.
    """
    if container is None:
        return Verdict("waiting", "missing")
    if service.job:
        return _judge_job(service, container)
    if container.state == "created":
        return Verdict("waiting", "starting")
    if container.restarts > restarts_before or container.state == "restarting":
        # Once it runs again, Docker no longer tells how it ended.
        how = "" if container.exit_code is None else f" with exit code {container.exit_code}"
        return Verdict("bad", "restarting", f"{service.name} ended{how} and was restarted")
    if not container.is_up:
        return Verdict("bad", "exited", _ended(service, container))
    if service.http is not None:
        return _judge_answer(answered)
    return _judge_docker_check(service, container)


def _judge_job(service: Service, container: Container) -> Verdict:
    if container.is_done:
        return Verdict("good", "completed")
    if container.state in ("exited", "dead"):
        return Verdict("bad", "exited", _ended(service, container))
    return Verdict("waiting", "starting")


def _ended(service: Service, container: Container) -> str:
    because = f": {container.error}" if container.error else ""
    return f"{service.name} ended with exit code {container.exit_code}{because}"


def _judge_answer(answered: bool | None) -> Verdict:
    return (
        Verdict("good", "healthy") if answered else Verdict("waiting", "starting" if answered is None else "unhealthy")
    )


def _judge_docker_check(service: Service, container: Container) -> Verdict:
    if container.health == "healthy":
        return Verdict("good", "healthy")
    if container.health == "unhealthy":
        return Verdict("bad", "unhealthy", f"{service.name} failed its health check")
    if container.health == "starting":
        return Verdict("waiting", "starting")
    return Verdict("good", "running-no-check")


def answers(check: HttpCheck, address: str) -> bool:
    """Whether the container answers the node's own check with a status that counts."""
    connection = http.client.HTTPConnection(address, check.port, timeout=PROBE_TIMEOUT_SECONDS)
    try:
        connection.request("GET", check.path, headers={"User-Agent": "sam-node-agent", "Connection": "close"})
        return check.first <= connection.getresponse().status <= check.last
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(slots=True)
class _Track:
    """What a watch remembers of one service."""

    container_id: str
    fresh: bool
    restarts: int
    since: float
    last_start: float
    """When its container had been started before this apply did so, Unix seconds: one that is asleep is not one that
    ended."""
    good_since: float | None = None
    digest: str | None = None


class Watch:
    """Repeated looks at the services of one release while it is brought up.

    Time is monotonic. A service that goes bad raises ApplyError with its name; one that this apply did not touch may be
    unhealthy for a while first.
    """

    def __init__(self, engine: Engine, bundle: Bundle):
        self._engine = engine
        self._bundle = bundle
        self._tracks: dict[str, _Track] = {}
        self._absent: dict[str, Verdict] = {}
        self.containers: dict[str, Container] = {}
        self.verdicts: dict[str, Verdict] = {}

    def follow(self, service: str, container_id: str, *, fresh: bool) -> None:
        """Watch this container for the service from now on; `fresh`: this apply made or started it."""
        found = self._engine.find(container_id)
        restarts = found.restarts if found and not fresh else 0
        last_start = found.started_at if found and fresh else -1.0
        self._tracks[service] = _Track(container_id, fresh, restarts, time.monotonic(), last_start)

    def assume(self, service: str, meaning: str) -> None:
        """Count a service without a container as good: a job that an earlier release completed."""
        self._absent[service] = Verdict("good", meaning)

    def find(self, service: str) -> Container | None:
        """The container that is followed for the service, as it is now."""
        track = self._tracks.get(service)
        return self._engine.find(track.container_id) if track else None

    def look(self) -> None:
        """Look at everything that is followed, and judge it. Raises ApplyError for the first that is bad."""
        found = {name: self._engine.find(track.container_id) for name, track in self._tracks.items()}
        self.containers = {name: container for name, container in found.items() if container}
        answered = probe(self._bundle, self.containers)
        now = time.monotonic()
        self.verdicts = dict(self._absent)
        for name, track in self._tracks.items():
            service = self._bundle.services[name]
            container = found[name]
            if container and container.started_at == track.last_start and not container.is_up:
                verdict = Verdict("waiting", "starting")
            else:
                verdict = judge(service, container, answered.get(name), track.restarts)
            self.verdicts[name] = verdict
            self._note(service, track, container, verdict, now)

    def _note(self, service: Service, track: _Track, container: Container | None, verdict: Verdict, now: float) -> None:
        if container is None:
            raise ApplyError("service.missing", f"The container of {service.name} is gone.", service=service.name)
        if verdict.judgement == "good":
            self._check_digest(service, track, container)
            if track.good_since is None:
                track.good_since = _good_since(track, container, now)
            return
        track.good_since = None
        if verdict.judgement == "bad" and (track.fresh or now - track.since > RECOVERY_SECONDS):
            raise ApplyError(f"service.{verdict.meaning}", f"{verdict.why}.", service=service.name)
        self._check_patience(service, track, container, now)

    def _check_digest(self, service: Service, track: _Track, container: Container) -> None:
        if track.digest is None:
            track.digest = self._engine.observed_digest(container, service.digest)
        if track.digest != service.digest:
            raise ApplyError(
                "image.digest", f"{service.name} runs {track.digest or 'an unknown image'}, not {service.digest}.",
                service=service.name,
            )  # fmt: skip

    def _check_patience(self, service: Service, track: _Track, container: Container, now: float) -> None:
        if service.http is None or not container.is_up:
            return
        if now - max(track.since, now - (time.time() - container.started_at)) > service.http.patience_seconds:
            raise ApplyError(
                "service.unhealthy",
                f"{service.name} did not answer GET {service.http.path} on port {service.http.port} with a status from "
                f"{service.http.first} to {service.http.last} in {service.http.patience_seconds:.0f} s.",
                service=service.name,
            )

    def is_good(self, service: str) -> bool:
        """Whether the last look found it good."""
        verdict = self.verdicts.get(service)
        return verdict is not None and verdict.judgement == "good"

    def is_settled(self, service: str) -> bool:
        """Whether it has been good for as long as its kind of check asks for."""
        track = self._tracks.get(service)
        if track is None:
            return service in self._absent
        if not self.is_good(service) or track.good_since is None:
            return False
        return time.monotonic() - track.good_since >= self.verdicts[service].settle_seconds

    def holds(self, service: str, condition: str) -> bool:
        """Whether what another service waits for is so. Raises ApplyError where it can never be."""
        container = self.containers.get(service)
        if condition == "ready":
            return self.is_settled(service)
        if condition == "service_started":
            return service in self._absent or (container is not None and container.started_at > 0)
        if not self.is_good(service):
            return False
        if condition == "service_healthy" and self.verdicts[service].meaning == "running-no-check":
            raise ApplyError(
                "service.no_check",
                f"Another service waits until {service} is healthy, and neither its definition nor its image has a "
                "health check. Give it one, or wait for service_started.",
                service=service,
            )
        return True


def _good_since(track: _Track, container: Container, now: float) -> float:
    """When it became good: now, or, for one that nobody touched, when it was started."""
    return now if track.fresh else now - max(0.0, time.time() - container.started_at)


def probe(bundle: Bundle, containers: Mapping[str, Container]) -> dict[str, bool]:
    """Service -> whether it answered, for those that the node checks itself."""
    asked = [
        (name, check, container.address)
        for name, container in containers.items()
        if container.is_up and container.address and (check := bundle.services[name].http)
    ]
    if not asked:
        return {}
    with ThreadPoolExecutor(len(asked)) as pool:
        return dict(zip([a[0] for a in asked], pool.map(lambda a: answers(a[1], a[2]), asked), strict=True))

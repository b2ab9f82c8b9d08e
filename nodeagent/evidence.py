"""Evidence: what each service looked like when an outcome was decided, taken before anything is cleaned up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import health
from .bundles import Bundle, Service
from .containers import Container, Engine
from .wire.heartbeat import ServiceObserved
from .wire.receipt import MAX_LOG_TAIL, ServiceEvidence

TAIL_LINES = 100
Redact = Callable[[str], str]


def gather(
    engine: Engine,
    bundle: Bundle,
    containers: Mapping[str, Container],
    meanings: Mapping[str, str],
    *,
    redact: Redact,
    with_logs: bool,
) -> dict[str, ServiceEvidence]:
    """Evidence of every service of the bundle. Logs are redacted before they are cut, or half a value could stay."""

    def one(service: Service) -> ServiceEvidence:
        container = containers.get(service.name)
        if container is None:
            return ServiceEvidence("missing", "none", "missing", None, 0, service.digest, "", "")
        # One that the apply did not wait for (it is as before, or its turn had not come) is judged by its looks.
        meaning = meanings.get(service.name, "missing")
        if meaning == "missing":
            meaning = health.judge(service, container, None).meaning
        tail = log_tail(engine, container, redact) if with_logs else ""
        return of_container(engine, service, container, meaning, tail)

    return {name: one(service) for name, service in sorted(bundle.services.items())}


def of_container(engine: Engine, service: Service, container: Container, meaning: str, tail: str) -> ServiceEvidence:
    """Evidence of one container. An exit code is told of one that ended, and of one that Docker started again."""
    return ServiceEvidence(
        state=container.state,
        health=container.health,
        meaning=meaning,
        exit_code=container.exit_code,
        restarts=container.restarts,
        expected_digest=service.digest,
        observed_digest=engine.observed_digest(container, service.digest),
        log_tail=tail,
    )


def log_tail(engine: Engine, container: Container, redact: Redact) -> str:
    """The end of a container's log as it may be shown: whole lines, at most MAX_LOG_TAIL characters."""
    text = redact(engine.log_tail(container.id, TAIL_LINES).replace("\0", "")).replace("\r\n", "\n").rstrip("\n")
    if len(text) <= MAX_LOG_TAIL:
        return text
    return text[-MAX_LOG_TAIL:].partition("\n")[2]


def as_observed(evidence: ServiceEvidence, release: int) -> ServiceObserved:
    """The same facts as a heartbeat tells them."""
    return ServiceObserved(
        state=evidence.state,
        health=evidence.health,
        meaning=evidence.meaning,
        exit_code=evidence.exit_code,
        restarts=evidence.restarts,
        expected_digest=evidence.expected_digest,
        observed_digest=evidence.observed_digest,
        release=release,
    )

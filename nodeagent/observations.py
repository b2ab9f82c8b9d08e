"""What an environment looks like now, in five dimensions that never collapse into one."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence

from . import bundles, evidence, health, images, routes
from .bundles import Bundle
from .containers import Container
from .faults import ApplyError
from .hands import Hands
from .haproxy import ProxyError
from .health import Verdict
from .wire.heartbeat import Dimension, Disk, Observed, ServiceObserved

OK = Dimension("ok", "", "")
LOW_SPACE_SHARE = 0.1
MAX_SENTENCES = 5


def observe(hands: Hands, environment_id: str, *, passing: Collection[str], also: Bundle | None) -> Observed:
    """Compare with `current`. `passing` are ids of containers on their way out, `also` a release on its way in: neither
    is drift."""
    space = disk(hands)
    try:
        bundle = hands.serving(environment_id)
        containers = [c for c in hands.engine.of_environment(environment_id) if c.id not in passing]
    except ApplyError as error:
        lost = Dimension("unknown", error.code, str(error))
        is_node = error.code.startswith("docker.")
        node, drift = (Dimension("failed", error.code, str(error)), lost) if is_node else (OK, lost)
        return Observed(lost, node, lost, _disk(space), drift, {}, ())
    if bundle is None:
        return _empty(hands, environment_id, containers, also, space)
    chosen = _chosen(bundle, containers)
    verdicts = _verdicts(bundle, chosen)
    meanings = {name: verdict.meaning for name, verdict in verdicts.items()}
    found = evidence.gather(hands.engine, bundle, chosen, meanings, redact=str, with_logs=False)
    services = {name: evidence.as_observed(e, bundle.services[name].release) for name, e in found.items()}
    return Observed(
        app=_app(verdicts),
        node=OK,
        routes=_routes(hands, bundle),
        disk=_disk(space),
        drift=_drift(hands, bundle, containers, chosen, services, also),
        services=services,
        routes_served=tuple(routes.observed(hands.sites, environment_id, bundle.routes)),
    )


def disk(hands: Hands) -> Disk:
    """Space where Docker keeps its images and containers; of the state directory while Docker does not say."""
    try:
        directory = hands.engine.root_dir()
    except ApplyError:
        directory = str(hands.store.root)
    usage = shutil.disk_usage(directory)
    return Disk(usage.free, usage.total)


def _empty(
    hands: Hands, environment_id: str, containers: Sequence[Container], also: Bundle | None, space: Disk
) -> Observed:
    nothing = Dimension("none", "", "Nothing is current.")
    strange = [_sentence(c) for c in containers if not _belongs(c, also)]
    return Observed(nothing, OK, nothing, _disk(space), _listed("drift.container", strange), {}, ())


def _chosen(bundle: Bundle, containers: Iterable[Container]) -> dict[str, Container]:
    """Service -> its container; one that is up before others."""
    found: dict[str, Container] = {}
    for container in sorted(containers, key=lambda c: (not c.is_up, c.id)):
        service = bundle.services.get(container.service)
        if service is not None and service.release == container.release and not container.role:
            found.setdefault(container.service, container)
    return found


def _verdicts(bundle: Bundle, chosen: Mapping[str, Container]) -> dict[str, Verdict]:
    answered = health.probe(bundle, chosen)
    verdicts: dict[str, Verdict] = {}
    for name, service in bundle.services.items():
        container = chosen.get(name)
        if container is None and service.job:
            # It completed, or the release would not be current; somebody cleaned up after it.
            verdicts[name] = Verdict("good", "completed")
        else:
            restarts = container.restarts if container else 0
            verdicts[name] = health.judge(service, container, answered.get(name), restarts)
    return verdicts


def _app(verdicts: Mapping[str, Verdict]) -> Dimension:
    wrong = {name: v for name, v in sorted(verdicts.items()) if v.judgement != "good"}
    if not wrong:
        return OK
    sentences = [f"{name}: {v.why or v.meaning}" for name, v in wrong.items()]
    if all(v.meaning == "starting" for v in wrong.values()):
        return Dimension("warning", "app.starting", _joined(sentences))
    return Dimension(
        "failed", "app." + next(v.meaning for v in wrong.values() if v.meaning != "starting"), _joined(sentences)
    )


def _routes(hands: Hands, bundle: Bundle) -> Dimension:
    if not any(route.mode == "public" for route in bundle.routes):
        return Dimension("none", "", "The release has no public route.")
    try:
        return _listed("routes.differ", hands.proxy.differences(bundle.environment_id), state="failed")
    except ProxyError as error:
        return Dimension("failed", error.code, str(error))


def _disk(space: Disk) -> Dimension:
    said = f"{space.free_bytes // 10**6} MB of {space.total_bytes // 10**6} MB are free."
    if space.free_bytes < images.MIN_FREE_BYTES:
        return Dimension("failed", "disk.full", f"{said} Nothing can be pulled.")
    if space.free_bytes < LOW_SPACE_SHARE * space.total_bytes:
        return Dimension("warning", "disk.low", said)
    return Dimension("ok", "", said)


def _drift(
    hands: Hands,
    bundle: Bundle,
    containers: Sequence[Container],
    chosen: Mapping[str, Container],
    services: Mapping[str, ServiceObserved],
    also: Bundle | None,
) -> Dimension:
    """What is there that nobody ordered, or is not what was ordered."""
    expected = {c.id for c in chosen.values()}
    missing = [
        f"{name} has no container" for name, s in services.items() if s.state == "missing" and s.meaning != "completed"
    ]
    other = [
        f"{name} runs {s.observed_digest or 'an image without a digest'}, not {s.expected_digest}"
        for name, s in services.items()
        if s.state != "missing" and s.observed_digest != s.expected_digest
    ]
    strange = [_sentence(c) for c in containers if c.id not in expected and not _belongs(c, also)]
    foreign = [f"{name} is in the environment's network" for name in _strangers(hands, bundle, containers)]
    unmounted = [said for volume in bundle.volumes if (said := _unmounted(hands, bundle, volume))]
    return _listed("drift.differs", [*other, *missing, *unmounted, *strange, *foreign])


def _belongs(container: Container, also: Bundle | None) -> bool:
    """Whether it is part of a release that is on its way in."""
    if also is None:
        return False
    service = also.services.get(container.service)
    return bool(container.role) or (service is not None and service.release == container.release)


def _sentence(container: Container) -> str:
    return (
        f"container {container.id[:12]} ({container.service or 'no service'}, release {container.release}) is not ours"
    )


def _strangers(hands: Hands, bundle: Bundle, containers: Iterable[Container]) -> list[str]:
    """Names of containers that are in the environment's network without its label."""
    known = {c.id for c in containers}
    return hands.engine.others_in(bundles.network(bundle.environment_id), known, bundle.environment_id)


def _unmounted(hands: Hands, bundle: Bundle, volume: bundles.Volume) -> str:
    try:
        hands.mounts.guard(bundle.environment_id, volume)
    except ApplyError as error:
        return str(error)
    return ""


def _listed(code: str, sentences: Sequence[str], *, state: str = "warning") -> Dimension:
    if not sentences:
        return OK
    return Dimension("failed" if state == "failed" else "warning", code, _joined(sentences))


def _joined(sentences: Sequence[str]) -> str:
    more = f"; and {len(sentences) - MAX_SENTENCES} more" if len(sentences) > MAX_SENTENCES else ""
    return ("; ".join(sentences[:MAX_SENTENCES]) + more)[:1000]

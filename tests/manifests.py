"""Manifests for tests: whole ones of every shape that a Compose file can give."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from deployments.domain.compose.capabilities import ALL, KEPT
from deployments.domain.compose.relations import route_order
from deployments.domain.manifest import (
    Dependency,
    Healthcheck,
    HttpCheck,
    Manifest,
    Mount,
    PreFlight,
    Resources,
    Route,
    SecretName,
    Service,
    VolumeSpec,
)

NAMES = ("web", "db", "cache", "job")
VOLUMES = ("data", "d", "Other.1")
DIGESTS = tuple("sha256:" + letter * 64 for letter in "ab")

_LETTERS = st.characters(exclude_categories=("Cc", "Cf", "Cs", "Co", "Cn")) | st.sampled_from(
    "$\n\t\"\\'{}:#\u2028é😀 "
)
texts = st.text(_LETTERS, max_size=12)
_words = st.lists(texts, max_size=3).map(tuple)
_literals = texts.map(lambda text: text.replace("$", "$$"))
_references = st.sampled_from(["${A}", "${B:-x y}", "${C:?say $$ it}", "${A:-}", "${DB_PASSWORD}"])
_values = st.one_of(
    st.lists(st.one_of(_literals, _references), max_size=3).map("".join),
    st.sampled_from([SecretName("with-dash"), SecretName("other-dash")]),
)
_images = st.one_of(
    st.sampled_from(["registry.example/shop/web:1", "nginx", "localhost:5000/a/b:x_Y"]),
    st.sampled_from(DIGESTS).map(lambda digest: f"registry.example/shop/web@{digest}"),
)
_milliseconds = st.none() | st.integers(1000, 300_000)


def _healthchecks() -> st.SearchStrategy[Healthcheck | None]:
    timings = {
        "interval_ms": _milliseconds, "timeout_ms": _milliseconds, "retries": st.none() | st.integers(1, 100),
        "start_period_ms": st.none() | st.integers(0, 600_000), "start_interval_ms": _milliseconds,
    }  # fmt: skip
    tests = st.one_of(
        st.none(), st.just(("NONE",)), texts.filter(bool).map(lambda line: ("CMD-SHELL", line)),
        st.lists(texts, min_size=1, max_size=3).map(lambda words: ("CMD", *words)),
    )  # fmt: skip
    http = st.builds(HttpCheck, path=st.sampled_from(["/", "/healthz", "/a$b"]), port=st.integers(1, 65535))
    found = st.one_of(st.builds(Healthcheck, test=tests, **timings), st.builds(Healthcheck, http=http, **timings))
    return st.none() | found.filter(lambda check: check != Healthcheck())


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """A manifest that the Compose door could have made."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    volumes = draw(st.dictionaries(st.sampled_from(VOLUMES), st.builds(VolumeSpec, st.none() | st.integers(1, 10_240))))
    routes = draw(_routes(names))
    services = {name: draw(_services(names[:number], tuple(volumes))) for number, name in enumerate(names)}
    routed = {route.service for route in routes}
    for name, service in services.items():
        if service.job and name in routed:
            services[name] = _with(service, restart="unless-stopped")
    for name, service in services.items():
        kept = {other: _awaitable(found, services[other]) for other, found in service.depends_on.items()}
        services[name] = _with(service, depends_on=kept)
    pre_flight = draw(
        st.none()
        | st.builds(
            PreFlight, st.sampled_from(names), st.lists(texts, min_size=1, max_size=3).map(tuple), st.integers(1, 1800)
        )
    )
    worker = not any(route.mode == "public" for route in routes) or draw(st.booleans())
    return Manifest(services, volumes, routes, pre_flight, worker)


def _with(service: Service, **changes: Any) -> Service:
    return replace(service, **changes)


def _awaitable(found: Dependency, other: Service) -> Dependency:
    """The dependency with a condition that the other service can reach."""
    if found.condition == "service_completed_successfully" and not other.job:
        return Dependency("service_started", found.required)
    if found.condition == "service_healthy" and other.healthcheck is not None and other.healthcheck.disabled:
        return Dependency("service_started", found.required)
    return found


@st.composite
def _services(draw: st.DrawFn, earlier: list[str], volumes: tuple[str, ...]) -> Service:
    targets = draw(st.lists(st.sampled_from(["/data", "/var/lib/a", "/b"]), unique=True, max_size=3))
    mounted = tuple(Mount(draw(st.sampled_from(volumes)), path, draw(st.booleans())) for path in targets if volumes)
    writable = any(not mount.read_only for mount in mounted)
    conditions = st.sampled_from(["service_started", "service_healthy", "service_completed_successfully"])
    dropped = draw(st.lists(st.sampled_from([*KEPT, ALL, "NET_RAW"]), unique=True, max_size=3).map(sorted).map(tuple))
    return Service(
        image=draw(_images),
        command=draw(st.none() | _words),
        entrypoint=draw(st.none() | _words),
        environment=draw(st.dictionaries(st.sampled_from(["A", "B_1", "c.d"]), _values)),
        volumes=mounted,
        depends_on=draw(st.dictionaries(st.sampled_from(earlier), st.builds(Dependency, conditions, st.booleans())))
        if earlier
        else {},
        healthcheck=draw(_healthchecks()),
        resources=draw(
            st.builds(
                Resources,
                st.integers(6 << 20, 1 << 40),
                st.integers(1, 1 << 22),
                st.none() | st.integers(1_000_000, 10**12),
            )
        ),
        update_order="stop-first" if writable else draw(st.sampled_from(["start-first", "stop-first"])),
        restart=draw(st.sampled_from(["unless-stopped", "unless-stopped", "no"])),
        user=draw(st.none() | st.sampled_from(["1000", "app:app"])),
        working_dir=draw(st.none() | st.sampled_from(["/app", "/with $ and space"])),
        read_only=draw(st.booleans()),
        init=draw(st.none() | st.booleans()),
        tmpfs=draw(st.sampled_from([(), ("/tmp",), ("/tmp", "/run/a")])),
        stop_grace_period_ms=draw(st.none() | st.integers(0, 120_000)),
        stop_signal=draw(st.none() | st.sampled_from(["SIGINT", "9", "SIGRTMIN+3"])),
        shm_size_bytes=draw(st.none() | st.integers(1, 256 << 20)),
        cap_drop=dropped,
        cap_add=draw(st.lists(st.sampled_from(KEPT), unique=True, max_size=2).map(sorted).map(tuple)),
    )


@st.composite
def _routes(draw: st.DrawFn, names: list[str]) -> tuple[Route, ...]:
    private = st.builds(Route, st.sampled_from(names), st.integers(1, 65535), st.just("private"))
    public = st.builds(
        Route, st.sampled_from(names), st.integers(1, 65535), st.just("public"),
        st.none() | st.sampled_from(["a.example", "b.example"]), st.sampled_from(["/", "/api"]),
        st.none() | st.just("/healthz"),
    )  # fmt: skip
    found = draw(st.lists(st.one_of(private, public), max_size=4, unique_by=_site))
    return tuple(sorted(set(found), key=route_order))


def _site(route: Route) -> object:
    return (route.host, route.path) if route.host else route

"""The manifest: the normalised contract that a Compose file becomes, its canonical bytes and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from deployments.domain import images as references_to_images
from deployments.domain.problems import pointer_to

if TYPE_CHECKING:
    from deployments.domain.compose import Parsed

VERSION: Final = 1
DEFAULT_MEMORY_BYTES: Final = 512 * 1024 * 1024
DEFAULT_PIDS: Final = 512
DEFAULT_PRE_FLIGHT_SECONDS: Final = 300

Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]
Mode = Literal["public", "private"]
Order = Literal["start-first", "stop-first"]


class ManifestError(Exception):
    """Base of what the manifest refuses; `code` is public and stable."""

    code = "manifest.error"
    retryable = False


class UnresolvedError(ManifestError, KeyError):
    """An image has neither a digest of its own nor one among those given."""

    code = "image.unresolved"

    def __init__(self, pointer: str, reference: str) -> None:
        super().__init__(reference)
        self.pointer = pointer
        self.reference = reference

    def __str__(self) -> str:
        return f"Image {self.reference} at {self.pointer} has no digest. Resolve the tag, or name the image by digest."


@dataclass(frozen=True, slots=True)
class SecretName:
    """A whole value that is one secret, for names that `${NAME}` cannot say (those with a dash)."""

    name: str


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume of the environment at an absolute path of the container."""

    source: str
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Dependency:
    """What another service has to reach before this one starts."""

    condition: Condition
    required: bool = True


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """A probe that the node makes itself: GET `path` on the container's `port`; a status in the range is healthy."""

    path: str
    port: int
    status_from: int = 200
    status_to: int = 399


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """Docker's healthcheck (`test`; None means the image's own) or the node's probe (`http`), with its timing."""

    test: tuple[str, ...] | None = None
    http: HttpCheck | None = None
    interval_ms: int | None = None
    timeout_ms: int | None = None
    retries: int | None = None
    start_period_ms: int | None = None
    start_interval_ms: int | None = None

    @property
    def disabled(self) -> bool:
        """True if the author turned the image's own check off."""
        return self.test == ("NONE",)


@dataclass(frozen=True, slots=True)
class Resources:
    """The limits of one container; `nano_cpus` None means no limit of its own."""

    memory_bytes: int = DEFAULT_MEMORY_BYTES
    pids: int = DEFAULT_PIDS
    nano_cpus: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """One service as it will run. `environment` holds texts in which `${...}` refers and `$$` is a dollar."""

    image: str
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str | SecretName] = field(default_factory=dict)
    volumes: tuple[Mount, ...] = ()
    depends_on: Mapping[str, Dependency] = field(default_factory=dict)
    healthcheck: Healthcheck | None = None
    resources: Resources = Resources()
    update_order: Order = "start-first"
    restart: str = "unless-stopped"
    user: str | None = None
    working_dir: str | None = None
    read_only: bool = False
    init: bool | None = None
    tmpfs: tuple[str, ...] = ()
    stop_grace_period_ms: int | None = None
    stop_signal: str | None = None
    shm_size_bytes: int | None = None
    cap_drop: tuple[str, ...] = ()
    cap_add: tuple[str, ...] = ()

    @property
    def job(self) -> bool:
        """True if the service runs to completion once per release in which its definition changed."""
        return self.restart != "unless-stopped"


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A declared volume; `size_gb` in units of 10^9 bytes, None for the provider's default."""

    size_gb: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """A port of a service, and whether the world may reach it. Without `host` a public route gets one of its own."""

    service: str
    port: int
    mode: Mode
    host: str | None = None
    path: str = "/"
    health_path: str | None = None


@dataclass(frozen=True, slots=True)
class PreFlight:
    """A command that runs to completion with the new image before the switch."""

    service: str
    command: tuple[str, ...]
    timeout_seconds: int = DEFAULT_PRE_FLIGHT_SECONDS


@dataclass(frozen=True, slots=True)
class Manifest:
    """A whole release's content. Two files that mean the same give equal manifests, whatever their order."""

    services: Mapping[str, Service]
    volumes: Mapping[str, VolumeSpec] = field(default_factory=dict)
    routes: tuple[Route, ...] = ()
    pre_flight: PreFlight | None = None
    worker: bool = False


def canonical(manifest: Manifest) -> bytes:
    """The manifest as RFC 8785 JSON.

    `json` writes the same bytes as an RFC 8785 encoder here because a manifest has no floats, its integers are below
    2^53 and its member names are ASCII (where code point order is UTF-16 order); tests hold it against `rfc8785`.
    """
    return canonical_json(to_json(manifest))


def canonical_json(document: Any) -> bytes:
    """RFC 8785 bytes of a document without floats whose member names are ASCII."""
    return _ENCODER.encode(document).encode()


_ENCODER = json.JSONEncoder(ensure_ascii=False, check_circular=False, sort_keys=True, separators=(",", ":"))


def digest(manifest: Manifest) -> str:
    """`sha256:HEX` of the canonical bytes: what a release is known by."""
    return f"sha256:{hashlib.sha256(canonical(manifest)).hexdigest()}"


def from_json(raw: bytes) -> Parsed:
    """Read a manifest submitted as JSON, through the very rules that a Compose file passes.

    Never raises for bad input: problems carry pointers into the JSON, with line and column.
    """
    from deployments.domain.compose import submitted  # the door imports this module

    return submitted.parse(raw)


def load(raw: bytes) -> Manifest:
    """Read back canonical bytes that were stored once: believed as they are. For foreign JSON there is `from_json`."""
    return _manifest_from(json.loads(raw))


def images(manifest: Manifest) -> dict[str, str]:
    """Each image reference as written, by its pointer (the same in a manifest and in a Compose file)."""
    return {pointer_to("services", name, "image"): service.image for name, service in manifest.services.items()}


def pin(manifest: Manifest, digests: Mapping[str, str]) -> Manifest:
    """The manifest with every image as HOST/PATH@sha256:HEX; `digests` maps references as written to digests.

    A reference that names a digest keeps it. Raises UnresolvedError for a tag that `digests` does not have.
    """
    services = {
        name: replace(service, image=_pinned(pointer_to("services", name, "image"), service.image, digests))
        for name, service in manifest.services.items()
    }
    return replace(manifest, services=services)


def pinned(manifest: Manifest) -> bool:
    """True if every image is named by host, path and digest alone, as a stored release must be."""
    return all(references_to_images.is_pinned(service.image) for service in manifest.services.values())


def _pinned(pointer: str, text: str, digests: Mapping[str, str]) -> str:
    reference = references_to_images.parse_reference(text)
    found = reference.digest or digests.get(text)
    if found is None:
        raise UnresolvedError(pointer, text)
    return references_to_images.pinned_text(reference, found)


def to_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain JSON values; members without a value are left out, so that new ones change no digest."""
    document: dict[str, Any] = {
        "v": VERSION,
        "services": {name: _service_json(service) for name, service in manifest.services.items()},
        "volumes": {
            name: {} if volume.size_gb is None else {"size_gb": volume.size_gb}
            for name, volume in manifest.volumes.items()
        },
        "routes": [_route_json(route) for route in manifest.routes],
        "worker": manifest.worker,
    }
    if manifest.pre_flight is not None:
        document["pre_flight"] = {
            "service": manifest.pre_flight.service,
            "command": manifest.pre_flight.command,
            "timeout_seconds": manifest.pre_flight.timeout_seconds,
        }
    return document


def _route_json(route: Route) -> dict[str, Any]:
    document: dict[str, Any] = {
        "service": route.service, "port": route.port, "mode": route.mode, "path": route.path,
    }  # fmt: skip
    if route.host is not None:
        document["host"] = route.host
    if route.health_path is not None:
        document["health_path"] = route.health_path
    return document


# Members that are written as they are held, when they hold something.
_PLAIN = (
    "command", "entrypoint", "user", "working_dir", "init", "stop_grace_period_ms", "stop_signal", "shm_size_bytes",
)  # fmt: skip
_LISTS = ("tmpfs", "cap_drop", "cap_add")


def _service_json(service: Service) -> dict[str, Any]:
    document: dict[str, Any] = {
        "image": service.image,
        "resources": _resources_json(service.resources),
        "update_order": service.update_order,
        "restart": service.restart,
    }
    for name in _PLAIN:
        value = getattr(service, name)
        if value is not None:
            document[name] = value
    for name in _LISTS:
        value = getattr(service, name)
        if value:
            document[name] = value
    if service.read_only:
        document["read_only"] = True
    if service.environment:
        document["environment"] = {
            name: value if isinstance(value, str) else {"x-sam-secret": value.name}
            for name, value in service.environment.items()
        }
    if service.volumes:
        document["volumes"] = [
            {"source": mount.source, "target": mount.target, "read_only": mount.read_only} for mount in service.volumes
        ]
    if service.depends_on:
        document["depends_on"] = {
            name: {"condition": dependency.condition, "required": dependency.required}
            for name, dependency in service.depends_on.items()
        }
    if service.healthcheck is not None:
        document["healthcheck"] = _healthcheck_json(service.healthcheck)
    return document


def _resources_json(resources: Resources) -> dict[str, int]:
    document = {"memory_bytes": resources.memory_bytes, "pids": resources.pids}
    if resources.nano_cpus is not None:
        document["nano_cpus"] = resources.nano_cpus
    return document


HEALTH_TIMINGS: Final = ("interval_ms", "timeout_ms", "retries", "start_period_ms", "start_interval_ms")


def _healthcheck_json(check: Healthcheck) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if check.test is not None:
        document["test"] = check.test
    if check.http is not None:
        document["http"] = {
            "path": check.http.path,
            "port": check.http.port,
            "status_from": check.http.status_from,
            "status_to": check.http.status_to,
        }
    for name in HEALTH_TIMINGS:
        value = getattr(check, name)
        if value is not None:
            document[name] = value
    return document


def _manifest_from(document: dict[str, Any]) -> Manifest:
    pre_flight = document.get("pre_flight")
    return Manifest(
        services={name: _service_from(service) for name, service in document["services"].items()},
        volumes={name: VolumeSpec(**volume) for name, volume in document["volumes"].items()},
        routes=tuple(Route(**route) for route in document["routes"]),
        pre_flight=None if pre_flight is None else PreFlight(**{**pre_flight, "command": tuple(pre_flight["command"])}),
        worker=document["worker"],
    )


def _service_from(document: dict[str, Any]) -> Service:
    members = dict(document)
    for name in ("command", "entrypoint", "tmpfs", "cap_drop", "cap_add"):
        if name in members:
            members[name] = tuple(members[name])
    members["resources"] = Resources(**members["resources"])
    members["volumes"] = tuple(Mount(**mount) for mount in members.get("volumes", ()))
    members["depends_on"] = {name: Dependency(**found) for name, found in members.get("depends_on", {}).items()}
    members["environment"] = {
        name: value if isinstance(value, str) else SecretName(value["x-sam-secret"])
        for name, value in members.get("environment", {}).items()
    }
    if "healthcheck" in members:
        members["healthcheck"] = _healthcheck_from(members["healthcheck"])
    return Service(**members)


def _healthcheck_from(document: dict[str, Any]) -> Healthcheck:
    members = dict(document)
    if "test" in members:
        members["test"] = tuple(members["test"])
    if "http" in members:
        members["http"] = HttpCheck(**members["http"])
    return Healthcheck(**members)

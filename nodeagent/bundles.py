"""A release as the engine sees it: the verified files of one sequence, read into values."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from . import composefile, routes
from .wire.fetch import Payload

Order = Literal["start-first", "stop-first"]
Condition = Literal["service_started", "service_healthy", "service_completed_successfully"]

DEFAULT_PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class HttpCheck:
    """A check that the node makes itself, for images without a shell: GET `path` on the container's own port.

    `first` and `last` bound the statuses that count as healthy; `patience_seconds` is how long the first good answer
    may take.
    """

    port: int
    path: str
    first: int = 200
    last: int = 399
    patience_seconds: float = DEFAULT_PATIENCE_SECONDS


@dataclass(frozen=True, slots=True)
class Mount:
    """A volume's `data` directory inside a container."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Service:
    """One service: what its container must be, and how it takes part in an update."""

    name: str
    image: str
    release: int
    """The sequence that last changed it: the label by which its containers are known."""
    job: bool
    order: Order
    depends_on: Mapping[str, Condition]
    checked: bool
    """Whether the file has a health check for Docker; the image may bring one of its own."""
    http: HttpCheck | None
    ports: tuple[int, ...]
    mounts: tuple[Mount, ...]

    @property
    def digest(self) -> str:
        """The image's digest, "sha256:HEX"."""
        return self.image.partition("@")[2]


@dataclass(frozen=True, slots=True)
class PreFlight:
    """A command that must succeed in the new image before the switch, such as a migration."""

    service: str
    command: tuple[str, ...]
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class Volume:
    """One line of volumes.json. `source` is kept as it is: mounts knows its kinds."""

    name: str
    id: str
    source: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Bundle:
    """Everything a release says, apart from its secrets."""

    environment_id: str
    seq: int
    services: Mapping[str, Service]
    pre_flight: PreFlight | None
    routes: tuple[routes.Route, ...]
    volumes: tuple[Volume, ...]
    subnet: str
    """What the file asks for its network, "" if nothing."""

    @property
    def labels(self) -> dict[str, int]:
        """Service -> the release label that its container carries."""
        return {name: service.release for name, service in self.services.items()}


def project(environment_id: str) -> str:
    """The environment's Compose project."""
    return "sam-" + environment_id.replace("-", "")[:12]


def network(environment_id: str) -> str:
    """The environment's network, as Compose names it."""
    return project(environment_id) + "_default"


def read(environment_id: str, seq: int, payload: Payload) -> Bundle:
    """The bundle of a verified payload; its shape is the renderer's, and the inbox judged it already."""
    document: Any = composefile.load(payload.compose)
    top = document.get("x-sam") or {}
    return Bundle(
        environment_id=environment_id,
        seq=seq,
        services={name: _service(name, body) for name, body in (document.get("services") or {}).items()},
        pre_flight=_pre_flight(top.get("pre_flight")),
        routes=routes.parse(payload.routes),
        volumes=tuple(Volume(v["name"], v["id"], v["source"]) for v in json.loads(payload.volumes or b"[]")),
        subnet=_subnet(document),
    )


def _subnet(document: Mapping[str, Any]) -> str:
    network = (document.get("networks") or {}).get("default") or {}
    configs = (network.get("ipam") or {}).get("config") or [{}]
    return str(configs[0].get("subnet") or "")


def _service(name: str, body: Mapping[str, Any]) -> Service:
    extension = body.get("x-sam") or {}
    test = (body.get("healthcheck") or {}).get("test")
    return Service(
        name=name,
        image=body["image"],
        release=int(body["labels"]["sam.release"]),
        job=_flag(extension.get("job")),
        order="stop-first" if extension.get("order") == "stop-first" else "start-first",
        depends_on={n: c.get("condition", "service_started") for n, c in (body.get("depends_on") or {}).items()},
        checked=bool(test) and test not in ("NONE", ["NONE"]),
        http=_http(extension.get("http"), body.get("healthcheck") or {}),
        ports=tuple(int(port["target"]) for port in body.get("ports") or ()),
        mounts=tuple(_mount(volume) for volume in body.get("volumes") or () if volume.get("type") == "bind"),
    )


def _mount(volume: Mapping[str, Any]) -> Mount:
    return Mount(_literal(volume["source"]), _literal(volume["target"]), _flag(volume.get("read_only")))


def _http(check: Mapping[str, Any] | None, timing: Mapping[str, Any]) -> HttpCheck | None:
    if not check:
        return None
    return HttpCheck(
        port=int(check["port"]),
        path=_literal(check.get("path") or "/"),
        first=int(check.get("status_from") or 200),
        last=int(check.get("status_to") or 399),
        patience_seconds=_patience(timing),
    )


def _patience(timing: Mapping[str, Any]) -> float:
    """How long until the first good answer: what Docker would wait with the same timings, else a minute."""
    if "interval" not in timing and "retries" not in timing:
        return DEFAULT_PATIENCE_SECONDS
    retries, interval = int(timing.get("retries") or 3), seconds(timing.get("interval") or "30s")
    return seconds(timing.get("start_period") or "0s") + retries * interval


def seconds(duration: str) -> float:
    """A duration as Compose writes it ("1m30s", "500ms")."""
    units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
    return sum(float(n) * units[unit] for n, unit in re.findall(r"([0-9.]+)(ms|us|ns|h|m|s)", duration))


def _literal(text: str) -> str:
    """A text as Compose would read it: the renderer doubles each dollar."""
    return text.replace("$$", "$")


def _pre_flight(found: Mapping[str, Any] | None) -> PreFlight | None:
    if not found:
        return None
    return PreFlight(
        found["service"], tuple(_literal(word) for word in found["command"]), float(found.get("timeout_seconds") or 300)
    )


def _flag(value: object) -> bool:
    """Every scalar of a rendered file is quoted, so truth comes as text."""
    return value is True or value == "true"

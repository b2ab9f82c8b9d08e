"""The policy of an environment: where its images may come from, and how much its services may ask for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from deployments.domain import images
from deployments.domain.images import ImageReference
from deployments.domain.manifest import Manifest
from deployments.domain.problems import Places, Problem, pointer_to

GIB: Final = 1024**3
NANO: Final = 1_000_000_000
OUTSIDE: Final = "image.outside_namespace"


@dataclass(frozen=True, slots=True)
class Policy:
    """The bounds of one environment.

    `registry_host` and `namespace` are the project's own place in the registry. `allowed_images` are repositories
    elsewhere (HOST/PATH), or prefixes of such that end in `/*`. Limits are per service, except the totals.
    """

    registry_host: str
    namespace: str
    allowed_images: tuple[str, ...] = ()
    max_services: int = 20
    max_memory_bytes: int = 4 * GIB
    max_total_memory_bytes: int = 16 * GIB
    max_cpus: float = 4.0
    max_pids: int = 4096
    max_volumes: int = 20
    max_volume_gb: int = 1024

    @classmethod
    def of(cls, changed: Mapping[str, Any], *, registry_host: str, namespace: str) -> Policy:
        """The defaults, and what an operator changed. Unknown members are ignored: an older row stays readable."""
        known = {name: changed[name] for name in _CHANGEABLE if name in changed}
        if "allowed_images" in known:
            known["allowed_images"] = tuple(known["allowed_images"])
        return cls(registry_host=registry_host, namespace=namespace, **known)

    def as_json(self) -> dict[str, Any]:
        """The policy as its callers see it."""
        return {
            "registry": self.registry_host,
            "namespace": self.namespace,
            **{name: list(value) if isinstance(value := getattr(self, name), tuple) else value for name in _CHANGEABLE},
        }

    def admits(self, image: ImageReference) -> bool:
        """True if the image lies in the project's namespace or on the list of others. Existence plays no part."""
        if image.host == self.registry_host and image.path.startswith(f"{self.namespace}/"):
            return True
        return any(_covers(allowed, image) for allowed in self.allowed_images)


_CHANGEABLE: Final = (
    "allowed_images", "max_services", "max_memory_bytes", "max_total_memory_bytes", "max_cpus", "max_pids",
    "max_volumes", "max_volume_gb",
)  # fmt: skip


def check(manifest: Manifest, policy: Policy, places: Places) -> tuple[Problem, ...]:
    """Every fault against the policy, at its place in the submitted document, in the order of the manifest."""
    found = _Faults(places)
    if len(manifest.services) > policy.max_services:
        found.add("policy.services", ("services",), len(manifest.services), policy.max_services, "services")
    if len(manifest.volumes) > policy.max_volumes:
        found.add("policy.volumes", ("volumes",), len(manifest.volumes), policy.max_volumes, "volumes")
    for name, service in manifest.services.items():
        if not policy.admits(images.parse_reference(service.image)):
            found.outside(name, policy)
        limits = ("services", name, "deploy", "resources", "limits")
        resources = service.resources
        if resources.memory_bytes > policy.max_memory_bytes:
            found.add(
                "policy.memory", (*limits, "memory"), resources.memory_bytes, policy.max_memory_bytes, "bytes of memory"
            )
        if resources.nano_cpus is not None and resources.nano_cpus > policy.max_cpus * NANO:
            found.add("policy.cpus", (*limits, "cpus"), resources.nano_cpus / NANO, policy.max_cpus, "processors")
        if resources.pids > policy.max_pids:
            found.add("policy.pids", (*limits, "pids"), resources.pids, policy.max_pids, "processes")
    total = sum(service.resources.memory_bytes for service in manifest.services.values())
    if total > policy.max_total_memory_bytes:
        found.add("policy.total_memory", ("services",), total, policy.max_total_memory_bytes, "bytes of memory in all")
    for name, volume in manifest.volumes.items():
        if volume.size_gb is not None and volume.size_gb > policy.max_volume_gb:
            found.add("policy.volume_size", ("volumes", name), volume.size_gb, policy.max_volume_gb, "GB")
    return tuple(found.problems)


class _Faults:
    def __init__(self, places: Places) -> None:
        self._places = places
        self.problems: list[Problem] = []

    def add(self, code: str, path: tuple[str, ...], wanted: float, allowed: float, what: str) -> None:
        pointer = pointer_to(*path)
        line, column = self._places.find(pointer)
        self.problems.append(
            Problem(
                code, "error", pointer, line, column,
                f"{wanted:,} {what} are asked for; this environment allows {allowed:,}.",
                "Ask for less, or ask an operator to raise the environment's limit.",
            )
        )  # fmt: skip

    def outside(self, service: str, policy: Policy) -> None:
        """One text for every image outside, so that the answer tells nobody what exists there."""
        pointer = pointer_to("services", service, "image")
        line, column = self._places.find(pointer)
        self.problems.append(
            Problem(
                OUTSIDE, "error", pointer, line, column,
                "This image is outside the project's namespace and not on the environment's list of others.",
                f"Push it to {policy.registry_host}/{policy.namespace}/, or ask an operator to allow its repository.",
            )
        )  # fmt: skip


def _covers(allowed: str, image: ImageReference) -> bool:
    if allowed.endswith("/*"):
        return f"{image.repository}/".startswith(f"{_repository(allowed[:-2])}/")
    return _repository(allowed) == image.repository


def _repository(text: str) -> str:
    """HOST/PATH of an entry as an operator wrote it; a host alone stands for itself."""
    try:
        return images.parse_reference(text).repository
    except images.ImageReferenceError:
        return text

"""What the volumes of a submitted manifest may not ask for, beside those that exist and what the provider can do."""

from __future__ import annotations

from collections.abc import Iterator

from providers import rules
from providers.ports import VolumeConstraints

from ..domain.manifest import Manifest, VolumeSpec
from ..domain.problems import Edit, Places, Problem, pointer_to
from ..models import Environment
from . import accounts, volumes

_SHRINKS, _TOO_LARGE, _TOO_MANY, _ELSEWHERE = (
    "volume.shrinks",
    "volume.too_large",
    "volume.too_many",
    "volume.elsewhere",
)
_MEMBERS = {"x-sam-size-gb": 1, "size_gb": 1, "x-sam-size-hint-mb": 1000}
"""Where a size can stand in what was submitted, and how many of its units are a gigabyte."""


def problems(environment: Environment, manifest: Manifest, places: Places) -> Iterator[Problem]:
    """Every fault, at its place in the submitted document. A declared size is a minimum that never shrinks a volume."""
    if not manifest.volumes:
        return
    constraints = accounts.capabilities_of(environment.account).volumes
    existing = {row.name: row for row in volumes.of(environment)}
    if len(manifest.volumes) > constraints.max_attached_per_server:
        yield _too_many(len(manifest.volumes), constraints, places)
    for name, spec in manifest.volumes.items():
        row = existing.get(name)
        if spec.size_gb is not None and spec.size_gb > constraints.max_gb:
            yield _too_large(name, spec.size_gb, constraints, places)
        elif row is not None and _shrinks(spec, row.size_gb, constraints):
            yield _shrinking(name, spec.size_gb or 0, row.size_gb, places)
        if row is not None and constraints.same_location and row.location != (environment.location or row.location):
            yield _elsewhere(name, row.location, environment.location, places)


def _shrinks(spec: VolumeSpec, size_gb: int, constraints: VolumeConstraints) -> bool:
    return spec.size_gb is not None and rules.rounded_size(spec.size_gb, constraints) < size_gb


def _shrinking(name: str, declared: int, has: int, places: Places) -> Problem:
    pointer, units = _size_place(name, places)
    line, column = places.find(pointer)
    return Problem(
        _SHRINKS, "error", pointer, line, column,
        f"Volume {name} has {has} GB, and {declared} are declared: volumes do not shrink.",
        f"Declare {has} or more, or leave the size out: whatever there is will do then.",
        (Edit("replace", pointer, value=has * units),) if units else None,
    )  # fmt: skip


def _size_place(name: str, places: Places) -> tuple[str, int]:
    """The member that holds the size, if the document tells where it stands; else the volume. And its units per GB."""
    volume = pointer_to("volumes", name)
    for member, units in _MEMBERS.items():
        pointer = pointer_to("volumes", name, member)
        if places.find(pointer) not in ((None, None), places.find(volume)):
            return pointer, units
    return volume, 0


def _too_large(name: str, declared: int, constraints: VolumeConstraints, places: Places) -> Problem:
    pointer, _ = _size_place(name, places)
    line, column = places.find(pointer)
    return Problem(
        _TOO_LARGE, "error", pointer, line, column,
        f"{declared} GB are declared for volume {name}; the environment's provider makes {constraints.max_gb} at most.",
        "Declare less, or spread what it holds over several volumes.",
    )  # fmt: skip


def _too_many(count: int, constraints: VolumeConstraints, places: Places) -> Problem:
    pointer = pointer_to("volumes")
    line, column = places.find(pointer)
    return Problem(
        _TOO_MANY, "error", pointer, line, column,
        f"{count} volumes are declared; one server of this provider takes {constraints.max_attached_per_server}.",
        "Declare fewer: services of one environment can share a volume.",
    )  # fmt: skip


def _elsewhere(name: str, location: str, wanted: str, places: Places) -> Problem:
    pointer = pointer_to("volumes", name)
    line, column = places.find(pointer)
    return Problem(
        _ELSEWHERE, "error", pointer, line, column,
        f"Volume {name} is in {location}, and the environment's nodes are in {wanted}: volumes do not move.",
        "Ask an operator to set the environment's location back, or declare a volume of another name.",
    )  # fmt: skip

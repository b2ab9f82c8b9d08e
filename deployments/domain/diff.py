"""The difference between two manifests, as changes by class: what the plan, the pages and the release list tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from deployments.domain import manifest as manifests
from deployments.domain import references
from deployments.domain.manifest import Manifest, Route, Service

Kind = Literal["image", "configuration", "resources", "routes", "volumes", "secrets", "topology"]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `before` is None for what is new, `after` for what is gone."""

    kind: Kind
    service: str | None
    what: str
    before: Any
    after: Any

    def as_json(self) -> dict[str, Any]:
        """The change as the plan tells it."""
        return {"kind": self.kind, "service": self.service, "what": self.what, "from": self.before, "to": self.after}


# The class of each member of a service; a member that is not named here is configuration.
_KINDS: Final[Mapping[str, Kind]] = {
    "image": "image", "resources": "resources", "shm_size_bytes": "resources", "volumes": "volumes",
    "tmpfs": "volumes", "depends_on": "topology", "restart": "topology",
}  # fmt: skip
_NESTED: Final = frozenset(("environment", "depends_on", "resources", "healthcheck"))
MASKED: Final = "(changed)"


def diff(old: Manifest | None, new: Manifest) -> tuple[Change, ...]:
    """Every difference once, sorted by service and name. Values of `environment` are not told."""
    before = manifests.to_json(old) if old is not None else _EMPTY
    after = manifests.to_json(new)
    changes = [
        *_services(before["services"], after["services"], old, new),
        *_members("volumes", "volumes", None, before["volumes"], after["volumes"]),
        *_routes(old.routes if old is not None else (), new.routes),
    ]
    changes += [
        Change("topology", None, what, before.get(what), after.get(what))
        for what in ("pre_flight", "worker")
        if before.get(what) != after.get(what)
    ]
    return tuple(sorted(changes, key=lambda change: (change.service or "", change.kind, change.what)))


_EMPTY: Final[dict[str, Any]] = {"services": {}, "volumes": {}, "worker": False}


def _services(
    before: Mapping[str, Any], after: Mapping[str, Any], old: Manifest | None, new: Manifest
) -> Iterator[Change]:
    for name in before.keys() | after.keys():
        if name not in after:
            yield Change("topology", name, "service", before[name]["image"], None)
        elif name not in before:
            yield Change("topology", name, "service", None, after[name]["image"])
        elif old is not None:
            yield from _service(name, before[name], after[name], old.services[name], new.services[name])


def _service(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], old: Service, new: Service
) -> Iterator[Change]:
    for key in before.keys() | after.keys():
        one, other = before.get(key), after.get(key)
        if one == other:
            continue
        if key == "environment":
            yield from _environment(name, one or {}, other or {})
        elif key in _NESTED and isinstance(one or {}, dict) and isinstance(other or {}, dict) and (one and other):
            yield from _members(_KINDS.get(key, "configuration"), key, name, one, other)
        else:
            yield Change(_KINDS.get(key, "configuration"), name, key, one, other)


def _members(
    kind: Kind, what: str, service: str | None, before: Mapping[str, Any], after: Mapping[str, Any]
) -> Iterator[Change]:
    for key in before.keys() | after.keys():
        if before.get(key) != after.get(key) or (key in before) != (key in after):
            yield Change(kind, service, f"{what}.{key}", before.get(key), after.get(key))


def _environment(service: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for key in before.keys() | after.keys():
        if key in before and key in after and before[key] == after[key]:
            continue
        refers = any(_refers(values[key]) for values in (before, after) if key in values)
        yield Change(
            "secrets" if refers else "configuration",
            service,
            f"environment.{key}",
            _shown(before, key),
            _shown(after, key),
        )


def _refers(value: Any) -> bool:
    return not isinstance(value, str) or any(not isinstance(part, str) for part in references.template(value))


def _shown(values: Mapping[str, Any], key: str) -> str | None:
    """References are shown, for they are names; the text around them and literal values are not."""
    if key not in values:
        return None
    value = values[key]
    if not isinstance(value, str):
        return str(value["x-sam-secret"])
    names = [part.text for part in references.template(value) if not isinstance(part, str)]
    return ", ".join(f"${{{name.partition(':')[0]}}}" for name in names) if names else MASKED


def _routes(before: tuple[Route, ...], after: tuple[Route, ...]) -> Iterator[Change]:
    """A route is what it serves: service, port, host and path; its mode and health path may change."""
    old = {_place(route): route for route in before}
    new = {_place(route): route for route in after}
    for place in old.keys() | new.keys():
        if old.get(place) != new.get(place):
            service, port, host, path = place
            yield Change(
                "routes", service, f"route {port} {host or ''}{path}", _told(old.get(place)), _told(new.get(place))
            )


def _place(route: Route) -> tuple[str, int, str | None, str]:
    return (route.service, route.port, route.host, route.path)


def _told(route: Route | None) -> dict[str, Any] | None:
    if route is None:
        return None
    return {
        "mode": route.mode, "port": route.port, "host": route.host, "path": route.path,
        "health_path": route.health_path,
    }  # fmt: skip

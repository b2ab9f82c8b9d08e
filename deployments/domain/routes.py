"""Routes as the node gets them: one signed list, apart from the Compose file."""

from __future__ import annotations

from typing import Any

from deployments.domain.manifest import Manifest, Route, canonical_json


def routes_json(manifest: Manifest) -> bytes:
    """RFC 8785 JSON: `[{health_path, host, mode, path, port, service}]`, in the manifest's order."""
    return canonical_json([_members(route) for route in manifest.routes])


def public(manifest: Manifest) -> tuple[Route, ...]:
    """The routes that the world may reach."""
    return tuple(route for route in manifest.routes if route.mode == "public")


def _members(route: Route) -> dict[str, Any]:
    return {
        "service": route.service,
        "port": route.port,
        "mode": route.mode,
        "host": route.host,
        "path": route.path,
        "health_path": route.health_path,
    }

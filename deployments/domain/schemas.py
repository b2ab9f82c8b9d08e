"""JSON Schemas: of the Compose subset, for editors, made from the rows; and of the manifest, which is published.

The manifest's rule of versions: a member that may be absent is added within a version; whatever changes the meaning of
what is there, or refuses what was accepted, is a new `v`, and old manifests are read as long as releases hold them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deployments.domain import manifest as manifests
from deployments.domain.compose import dependencies, health, mounts, ports, routes, table
from deployments.domain.compose.capabilities import KEPT
from deployments.domain.compose.rules import Row

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def compose_subset() -> Schema:
    """The schema of an accepted Compose file. It knows shapes and names; what one part says of another it does not."""
    service = _mapping(
        table.SERVICE,
        {
            "deploy": _nullable(_deploy()),
            "healthcheck": _mapping(health.ROWS, {"x-sam-http": _mapping(health.HTTP_ROWS)}),
            "volumes": _list({"anyOf": [{"type": "string"}, _mapping(mounts.LONG_ROWS)]}),
            "ports": _list({"anyOf": [{"type": ["string", "integer"]}, _mapping(ports.LONG_ROWS)]}),
            "depends_on": {"anyOf": [_list({"type": "string"}), _named(_mapping(dependencies.DEPENDENCY))]},
            "environment": {"anyOf": [_list({"type": "string"}), _environment()]},
        },
    )
    top = _mapping(
        table.TOP,
        {
            "services": {**_named(service), "minProperties": 1, "maxProperties": routes.MAX_SERVICES},
            "volumes": _nullable(_named(_nullable(_mapping(table.VOLUME)))),
            "x-sam-routes": _list(_mapping(table.ROUTE)),
            "x-sam-pre-flight": _mapping(table.PRE_FLIGHT),
        },
    )
    return {"$schema": DIALECT, "title": "The accepted subset of Compose", **top}


def _deploy() -> Schema:
    limits = _mapping(table.LIMITS)
    return _mapping(
        table.DEPLOY,
        {"resources": _mapping(table.RESOURCES, {"limits": limits}), "update_config": _mapping(table.UPDATE)},
    )


def _mapping(rows: Sequence[Row], nested: Mapping[str, Schema] | None = None) -> Schema:
    """An object with the accepted and dropped keys of the rows, and foreign extensions."""
    properties = {
        row.key: {**((nested or {}).get(row.key) or row.schema), "description": row.says}
        for row in rows
        if row.decision != "rejected"
    }
    schema: Schema = {
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-(?!sam-)": {}},
        "additionalProperties": False,
    }
    required = [row.key for row in rows if row.required]
    if required:
        schema["required"] = required
    return schema


def _named(value: Schema) -> Schema:
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^(?:{mounts.NAME.pattern})$"},
        "additionalProperties": value,
    }


def _environment() -> Schema:
    secret = {
        "type": "object",
        "properties": {"x-sam-secret": {"type": "string"}},
        "required": ["x-sam-secret"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "propertyNames": {"pattern": "^(?!SAM_|COMPOSE_|DOCKER_)[A-Za-z_][A-Za-z0-9_.]*$"},
        "additionalProperties": {"anyOf": [{"type": ["string", "integer", "boolean"]}, secret]},
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _nullable(schema: Schema) -> Schema:
    return {"anyOf": [{"type": "null"}, schema]}


# The manifest

_TEXT: Final[Schema] = {"type": "string"}
_WORDS: Final[Schema] = {"type": "array", "items": {"type": "string"}}
_PORT: Final[Schema] = {"type": "integer", "minimum": 1, "maximum": 65535}


def manifest() -> Schema:
    """The schema of a manifest of the present version, as it is stored and submitted."""
    return {
        "$schema": DIALECT,
        "title": "Manifest",
        **_object(
            {
                "v": {"const": manifests.VERSION},
                "services": {**_named(_manifest_service()), "minProperties": 1, "maxProperties": routes.MAX_SERVICES},
                "volumes": _named(_object({"size_gb": _whole(1, 10_240)}, ())),
                "routes": {"type": "array", "items": _manifest_route()},
                "pre_flight": _object({"service": _TEXT, "command": _WORDS, "timeout_seconds": _whole(1, 1800)}),
                "worker": {"type": "boolean"},
            },
            ("v", "services", "volumes", "routes", "worker"),
        ),
    }


def _manifest_service() -> Schema:
    secret = _object({"x-sam-secret": _TEXT})
    capabilities: Schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
    return _object(
        {
            "image": _TEXT,
            "command": _WORDS,
            "entrypoint": _WORDS,
            "environment": {"type": "object", "additionalProperties": {"anyOf": [_TEXT, secret]}},
            "volumes": {
                "type": "array",
                "items": _object({"source": _TEXT, "target": _TEXT, "read_only": {"type": "boolean"}}),
            },
            "depends_on": _named(
                _object({"condition": {"enum": list(dependencies.CONDITIONS)}, "required": {"type": "boolean"}})
            ),
            "healthcheck": _manifest_healthcheck(),
            "resources": _object(
                {
                    "memory_bytes": _whole(6 << 20, 1 << 40),
                    "pids": _whole(1, 1 << 22),
                    "nano_cpus": _whole(1_000_000, 1024 * 1_000_000_000),
                },
                ("memory_bytes", "pids"),
            ),
            "update_order": {"enum": ["start-first", "stop-first"]},
            "restart": {"enum": ["unless-stopped", "no"]},
            "user": _TEXT,
            "working_dir": _TEXT,
            "read_only": {"const": True},
            "init": {"type": "boolean"},
            "tmpfs": _WORDS,
            "stop_grace_period_ms": _whole(0, 120_000),
            "stop_signal": _TEXT,
            "shm_size_bytes": _whole(1, 256 << 20),
            "cap_drop": capabilities,
            "cap_add": {**capabilities, "items": {"enum": list(KEPT)}},
        },
        ("image", "resources", "update_order", "restart"),
    )


def _manifest_healthcheck() -> Schema:
    minutes = 60_000
    return _object(
        {
            "test": {**_WORDS, "minItems": 1},
            "http": _object(
                {"path": _TEXT, "port": _PORT, "status_from": _whole(100, 599), "status_to": _whole(100, 599)}
            ),
            "interval_ms": _whole(1000, 5 * minutes),
            "timeout_ms": _whole(1000, 5 * minutes),
            "retries": _whole(1, 100),
            "start_period_ms": _whole(0, 10 * minutes),
            "start_interval_ms": _whole(1000, 5 * minutes),
        },
        (),
    )


def _manifest_route() -> Schema:
    return _object(
        {
            "service": _TEXT,
            "port": _PORT,
            "mode": {"enum": ["public", "private"]},
            "path": _TEXT,
            "host": _TEXT,
            "health_path": _TEXT,
        },
        ("service", "port", "mode", "path"),
    )


def _object(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """An object with these members and no others, all required unless said."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties) if required is None else list(required),
        "additionalProperties": False,
    }


def _whole(minimum: int, maximum: int) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum}

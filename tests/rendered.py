"""A rendered file read backwards: the author's document that it came from, for the proof that nothing got lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from deployments.domain.compose.capabilities import KEPT
from deployments.domain.manifest import Manifest
from deployments.domain.references import Expression
from tests import edits


def authored(rendered: bytes, expressions: Sequence[Expression], found: Manifest) -> bytes:
    """What an author would have written. Routes and sizes of volumes are signed apart: from `found`."""
    document = yaml.load(rendered, Loader=yaml.BaseLoader)  # noqa: S506 - our own bytes; texts only
    top: dict[str, Any] = {
        "services": {name: _service(body, expressions) for name, body in document["services"].items()}
    }
    top["volumes"] = {
        name: {} if spec.size_gb is None else {"x-sam-size-gb": spec.size_gb} for name, spec in found.volumes.items()
    }
    top["x-sam-routes"] = [
        {key: value for key, value in _route(route).items() if value is not None} for route in found.routes
    ]
    pre_flight = document["x-sam"].get("pre_flight")
    if pre_flight:
        top["x-sam-pre-flight"] = {**pre_flight, "timeout_seconds": pre_flight["timeout_seconds"]}
    top["x-sam-worker"] = edits.Plain("true" if found.worker else "false")
    return edits.written(_plain(top))


def _route(route: Any) -> dict[str, Any]:
    public = route.mode == "public"
    return {
        "service": route.service, "port": route.port, "mode": route.mode, "host": route.host,
        "path": route.path if public else None, "health_path": route.health_path,
    }  # fmt: skip


def _service(body: Mapping[str, Any], expressions: Sequence[Expression]) -> dict[str, Any]:
    kept = ("image", "command", "entrypoint", "user", "working_dir", "stop_grace_period", "stop_signal", "shm_size")
    service: dict[str, Any] = {key: body[key] for key in kept if key in body}
    if "environment" in body:
        service["environment"] = {key: _value(value, expressions) for key, value in body["environment"].items()}
    for key in ("read_only", "init"):
        if key in body:
            service[key] = edits.Plain(body[key])
    if "tmpfs" in body:
        service["tmpfs"] = [path.partition(":")[0] for path in body["tmpfs"]]
    if "volumes" in body:
        service["volumes"] = [
            {"type": "volume", "source": each["source"].split("/")[-2], "target": each["target"],
             "read_only": edits.Plain(each["read_only"])}
            for each in body["volumes"]
        ]  # fmt: skip
    if "depends_on" in body:
        service["depends_on"] = {
            name: {"condition": each["condition"], "required": edits.Plain(each.get("required", "true"))}
            for name, each in body["depends_on"].items()
        }
    limits = {"cpus": body["deploy"]["resources"]["limits"].get("cpus"), **body["deploy"]["resources"]["limits"]}
    extension = body["x-sam"]
    service["deploy"] = {
        "resources": {"limits": {key: value for key, value in limits.items() if value is not None}},
        "update_config": {"order": extension["order"]},
    }
    check = dict(body.get("healthcheck", {}))
    if "http" in extension:
        http = extension["http"]
        status = f"{http['status_from']}-{http['status_to']}"
        check["x-sam-http"] = {"path": http["path"], "port": http["port"], "status": status}
    if check:
        service["healthcheck"] = check
    service["restart"] = body["restart"]
    left = body.get("cap_add", [])
    service["cap_drop"] = [name for name in KEPT if name not in left]
    return service


def _value(value: str, expressions: Sequence[Expression]) -> Any:
    for number, expression in reversed(list(enumerate(expressions))):
        placeholder = f"${{SAM_SECRET_{number}?}}"
        if value == placeholder and "-" in expression.name:
            return {"x-sam-secret": expression.name}
        value = value.replace(placeholder, f"${{{expression.text}}}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return edits.Plain(str(value)) if isinstance(value, int) and not isinstance(value, bool) else value

"""The renderer: a manifest as the exact Compose file that a node gets. Equal input, equal bytes, on any machine.

Every scalar is double-quoted (Compose turns texts into numbers and booleans where its schema has them), keys are
sorted, every dollar that is not ours is doubled, and every reference is `${SAM_SECRET_n?}`. The one unquoted scalar is
`required: false` of a dependency: Compose accepts nothing else there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from deployments.domain import images, references
from deployments.domain.compose.capabilities import left
from deployments.domain.compose.quantities import cpus_text
from deployments.domain.manifest import Healthcheck, Manifest, PreFlight, SecretName, Service, UnresolvedError
from deployments.domain.problems import pointer_to

SCHEMA: Final = 1
LOG_MAX_SIZE: Final = "10m"
LOG_MAX_FILES: Final = "3"
_FALSE = object()  # the one plain scalar

# What cannot stand in double quotes as it is; YAML's \U reaches beyond the BMP, JSON's surrogate pairs would not.
_ESCAPED = re.compile(r'[\x00-\x1f"\\\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]|[^\x00-\uffff]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def render(
    manifest: Manifest, *, environment_id: str, sequence: int, changed_in: Mapping[str, int] | None = None
) -> bytes:
    """The Compose file of a release. `changed_in` maps a service to the sequence that last changed its definition.

    Raises UnresolvedError if an image has no digest.
    """
    for name, service in manifest.services.items():
        if not images.is_pinned(service.image):
            raise UnresolvedError(pointer_to("services", name, "image"), service.image)
    numbers = {found.text: number for number, found in enumerate(references.expressions(manifest))}
    ports = _public_ports(manifest)
    document: dict[str, Any] = {
        "name": project_name(environment_id),
        "networks": {"default": {"driver": "bridge", "ipam": {"config": [{"subnet": subnet(environment_id)}]}}},
        "services": {
            name: _service(
                name,
                service,
                environment_id=environment_id,
                release=(changed_in or {}).get(name, sequence),
                ports=ports.get(name, ()),
                numbers=numbers,
            )
            for name, service in manifest.services.items()
        },
        "x-sam": {"pre_flight": _pre_flight(manifest.pre_flight), "schema": str(SCHEMA)}
        if manifest.pre_flight
        else {"schema": str(SCHEMA)},
    }
    lines: list[str] = []
    _write(document, "", lines)
    return "".join(lines).encode()


def project_name(environment_id: str) -> str:
    """The Compose project of an environment: `sam-` and the first twelve hex digits of its id."""
    return f"sam-{environment_id.replace('-', '')[:12]}"


def subnet(environment_id: str) -> str:
    """A /26 of 10.128.0.0/9 that belongs to the environment's id: sixty-two addresses, one of 131,072 places."""
    number = int.from_bytes(hashlib.sha256(environment_id.encode()).digest()[:4], "big") % (1 << 17)
    address = (10 << 24) + (128 << 16) + (number << 6)
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}/26"


def volume_path(environment_id: str, name: str) -> str:
    """The directory of a volume that containers get."""
    return f"/mnt/sam-env-{environment_id}/volumes/{name}/data"


def _public_ports(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    found: dict[str, set[int]] = {}
    for route in manifest.routes:
        if route.mode == "public":
            found.setdefault(route.service, set()).add(route.port)
    return {name: tuple(sorted(ports)) for name, ports in found.items()}


def _service(
    name: str,
    service: Service,
    *,
    environment_id: str,
    release: int,
    ports: tuple[int, ...],
    numbers: Mapping[str, int],
) -> dict[str, Any]:
    memory = str(service.resources.memory_bytes)
    document: dict[str, Any] = {
        "cap_add": list(left(service.cap_drop, service.cap_add)),
        "cap_drop": ["ALL"],
        "deploy": {"resources": {"limits": _limits(service)}},
        "hostname": name,
        "image": service.image,
        "labels": {"sam.environment": environment_id, "sam.release": str(release), "sam.service": name},
        "logging": {"driver": "json-file", "options": {"max-file": LOG_MAX_FILES, "max-size": LOG_MAX_SIZE}},
        "memswap_limit": memory,
        "restart": service.restart,
        "security_opt": ["no-new-privileges:true"],
        "x-sam": _extension(service),
    }
    document.update(_optional(service))
    if service.environment:
        document["environment"] = {key: _Raw(_value(value, numbers)) for key, value in service.environment.items()}
    if ports:
        document["ports"] = [{"host_ip": "127.0.0.1", "protocol": "tcp", "target": str(port)} for port in ports]
    if service.volumes:
        document["volumes"] = [
            {
                "bind": {"create_host_path": "false"},
                "read_only": "true" if mount.read_only else "false",
                "source": volume_path(environment_id, mount.source),
                "target": mount.target,
                "type": "bind",
            }
            for mount in service.volumes
        ]
    if not document["cap_add"]:
        del document["cap_add"]
    return document


def _limits(service: Service) -> dict[str, str]:
    limits = {"memory": str(service.resources.memory_bytes), "pids": str(service.resources.pids)}
    if service.resources.nano_cpus is not None:
        limits["cpus"] = cpus_text(service.resources.nano_cpus)
    return limits


def _optional(service: Service) -> Iterator[tuple[str, Any]]:
    """What is rendered only where the author said it."""
    for key in ("command", "entrypoint"):
        words = getattr(service, key)
        if words is not None:
            yield key, list(words)
    for key in ("user", "working_dir", "stop_signal"):
        text = getattr(service, key)
        if text is not None:
            yield key, text
    if service.depends_on:
        yield (
            "depends_on",
            {
                name: {"condition": found.condition}
                if found.required
                else {"condition": found.condition, "required": _FALSE}
                for name, found in service.depends_on.items()
            },
        )
    if service.healthcheck is not None:
        yield from _healthcheck(service.healthcheck)
    if service.read_only:
        yield "read_only", "true"
    if service.init is not None:
        yield "init", "true" if service.init else "false"
    if service.tmpfs:
        options = f"rw,noexec,nosuid,nodev,size={service.resources.memory_bytes},mode=1777"
        yield "tmpfs", [f"{path}:{options}" for path in service.tmpfs]
    if service.stop_grace_period_ms is not None:
        yield "stop_grace_period", f"{service.stop_grace_period_ms}ms"
    if service.shm_size_bytes is not None:
        yield "shm_size", str(service.shm_size_bytes)


_TIMINGS: Final = {
    "interval": "interval_ms", "timeout": "timeout_ms", "start_period": "start_period_ms",
    "start_interval": "start_interval_ms",
}  # fmt: skip


def _healthcheck(check: Healthcheck) -> Iterator[tuple[str, Any]]:
    document: dict[str, Any] = {} if check.test is None else {"test": list(check.test)}
    for key, field in _TIMINGS.items():
        milliseconds = getattr(check, field)
        if milliseconds is not None:
            document[key] = f"{milliseconds}ms"
    if check.retries is not None:
        document["retries"] = str(check.retries)
    if document:
        yield "healthcheck", document


def _extension(service: Service) -> dict[str, Any]:
    """What Compose does not know and the node needs; texts like everything else."""
    document: dict[str, Any] = {"job": "true" if service.job else "false", "order": service.update_order}
    http = service.healthcheck.http if service.healthcheck else None
    if http is not None:
        document["http"] = {
            "path": http.path,
            "port": str(http.port),
            "status_from": str(http.status_from),
            "status_to": str(http.status_to),
        }
    return document


def _pre_flight(pre_flight: PreFlight) -> dict[str, Any]:
    return {
        "command": list(pre_flight.command),
        "service": pre_flight.service,
        "timeout_seconds": str(pre_flight.timeout_seconds),
    }


class _Raw(str):
    """A text whose dollars are as they should be already."""

    __slots__ = ()


def _value(value: str | SecretName, numbers: Mapping[str, int]) -> str:
    if isinstance(value, SecretName):
        return f"${{SAM_SECRET_{numbers[value.name]}?}}"
    if "$" not in value:
        return value
    return "".join(
        part.replace("$", "$$") if isinstance(part, str) else f"${{SAM_SECRET_{numbers[part.text]}?}}"
        for part in references.template(value)
    )


def _write(node: Mapping[str, Any], indent: str, lines: list[str]) -> None:
    """Block style for mappings and lists; what is empty in flow style, since block style cannot say it."""
    for key in sorted(node):
        value = node[key]
        kind = type(value)
        head = indent + _key(key)
        if kind is dict:
            if value:
                lines.append(f"{head}\n")
                _write(value, indent + "  ", lines)
            else:
                lines.append(f"{head} {{}}\n")
        elif kind is list:
            lines.append(f"{head}\n" if value else f"{head} []\n")
            for item in value:
                if type(item) is dict:
                    inner: list[str] = []
                    _write(item, indent + "    ", inner)
                    lines.append(f"{indent}  - {''.join(inner)[len(indent) + 4 :]}")
                else:
                    lines.append(f"{indent}  - {_scalar(item)}\n")
        else:
            lines.append(f"{head} {_scalar(value)}\n")


def _scalar(value: Any) -> str:
    if value is _FALSE:
        return "false"
    if type(value) is _Raw:
        return _quoted(value)
    return _quoted(value.replace("$", "$$") if "$" in value else value)


@lru_cache(maxsize=512)
def _key(name: str) -> str:
    """A key as it is written; the same few dozen stand in every file."""
    return f"{_quoted(name)}:"


def _quoted(text: str) -> str:
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    letter = match.group()
    short = _SHORT.get(letter)
    if short is not None:
        return short
    code = ord(letter)
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"

"""Mounts: the `volumes` and `tmpfs` of a service, short and long, and what their targets may be."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from deployments.domain.compose import nodes
from deployments.domain.compose.findings import Finding, Fix, add, echo, remove, replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import (
    Reading,
    Row,
    accepted,
    boolean,
    mapping,
    one_of,
    rejected,
    text,
)

NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
FORBIDDEN_TARGETS: Final = ("/proc", "/sys", "/dev", "/run/docker.sock", "/var/run/docker.sock")
_FORBIDDEN = re.compile(rf"(?:{'|'.join(map(re.escape, FORBIDDEN_TARGETS))})(?:/|\Z)").match
MAX_PATH: Final = 4096
_SHORTEST = re.compile(r"(?:/(?!\.\.?(?:/|\Z))[^/]+)+", re.DOTALL)


@dataclass(slots=True)
class MountRead:
    """A mount as written. A `bind` has the finding whose fix is worked out once all names and targets are known."""

    node: Node
    kind: Literal["volume", "bind"]
    source: str
    target: str
    read_only: bool
    source_node: Node
    target_node: Node
    finding: Finding | None = field(default=None)


def mounts(node: Node, reading: Reading) -> list[MountRead] | None:
    """The `volumes` of a service, in order."""
    if type(node) is not nodes.Sequence:
        reading.mismatch(node, "a list of mounts")
        return None
    read = [_long(item, reading) if type(item) is nodes.Mapping else _short(item, reading) for item in node.value]
    return [mount for mount in read if mount is not None]


def _short(item: Node, reading: Reading) -> MountRead | None:
    value = text(item, reading)
    if value is None:
        return None
    parts = value.split(":")
    if len(parts) == 1:
        _anonymous(item, reading)
        return None
    source, target, *rest = parts
    if len(source) == 1 and source.isalpha():
        _drive(item, source, target, rest, reading)
        return None
    options = rest[0].split(",") if rest else []
    if _is_path(source):
        finding = _bind(item, reading)
        kept = target if target_fault(target) is None else ""
        return MountRead(item, "bind", source, kept, "ro" in options, item, item, finding)
    if len(rest) > 1:
        reading.error(
            item,
            "compose.mount",
            f"{echo(value)} is no mount.",
            "Write NAME:/absolute/path, with `:ro` if it is read-only.",
        )
        return None
    if not _options(item, source, target, options, reading) or not _named(item, source, reading):
        return None
    checked = _target(item, target, reading, lambda cured: ":".join([source, cured, *rest]))
    return None if checked is None else MountRead(item, "volume", source, checked, "ro" in options, item, item)


def _options(item: Node, source: str, target: str, options: list[str], reading: Reading) -> bool:
    """True if the options of a short mount are `ro` or `rw` or none."""
    if options in ([], ["ro"], ["rw"]):
        return True
    cured = f"{source}:{target}{':ro' if 'ro' in options else ''}"
    reading.error(
        item,
        "compose.mount_options",
        f"Of the options {echo(','.join(options))} only `ro` and `rw` are accepted, one of them.",
        "Remove the others (SELinux labels, propagation and copying are the node's own business).",
        (replace(item, cured),),
    )
    return False


def _drive(item: Node, source: str, target: str, rest: list[str], reading: Reading) -> None:
    fix: Fix
    if target_fault(target) is None and rest in ([], ["ro"], ["rw"]):
        fix = (replace(item, _long_form(source, target, read_only=rest == ["ro"])),)
    else:
        fix = (remove(item),)
    reading.error(
        item,
        "compose.mount_drive",
        f"Compose reads `{source}:` as a drive letter.",
        "Use the long form for a volume whose name has one letter.",
        fix,
    )


def _long_form(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    written: dict[str, Any] = {"type": "volume", "source": source, "target": target}
    if read_only:
        written["read_only"] = True
    return written


def _anonymous(item: Node, reading: Reading) -> None:
    reading.error(
        item,
        "compose.mount_anonymous",
        "A mount without a name is lost with its container.",
        "Name a volume, and declare it under the top level's `volumes`; or keep the path in the image.",
        (remove(item),),
    )


def _bind(item: Node, reading: Reading) -> Finding:
    return reading.error(
        item,
        "compose.bind_mount",
        "This mounts a path of the host; a node has no files of yours.",
        "Put the files into the image, or use a named volume.",
        (remove(item),),
    )


def _is_path(source: str) -> bool:
    return source[:1] in (".", "/", "~", "\\") or "/" in source or "\\" in source or not source


def _named(node: Node, source: str, reading: Reading) -> bool:
    if NAME.fullmatch(source):
        return True
    reading.error(
        node,
        "compose.volume_name",
        f"{echo(source)} is no name of a volume.",
        "Use up to 63 letters, digits, dots, dashes and underscores, with a letter or digit at both ends.",
    )
    return False


def _target(node: Node, target: str, reading: Reading, rewritten: Any) -> str | None:
    """The target without a slash at its end, or None after saying why it is refused."""
    fault = target_fault(target)
    if fault is None:
        return stripped(target)
    cured = posixpath.normpath(target) if target.startswith("/") else ""
    cured = "/" + cured.lstrip("/")
    fix: Fix = None
    if target.startswith("/") and target_fault(cured) is None:
        fix = (replace(node, rewritten(cured)),)
    reading.error(node, "compose.mount_target", fault, "Choose an absolute path of the app's own.", fix)
    return None


def stripped(path: str) -> str:
    """The path without a slash at its end."""
    return path[:-1] if len(path) > 1 and path.endswith("/") else path


def target_fault(target: str) -> str | None:
    """Why nothing may be mounted at `target`, or None."""
    path = stripped(target)
    if not path.startswith("/"):
        return f"The path {echo(target)} inside the container is not absolute."
    if path == "/":
        return "Nothing can be mounted over the root of the container."
    if len(path) > MAX_PATH or not _SHORTEST.fullmatch(path):
        return f"The path {echo(target)} is not in its shortest form."
    if _FORBIDDEN(path):
        return f"{echo(target)} belongs to the kernel or to the container engine."
    if ":" in path or "," in path:
        return "A path with a colon or a comma cannot be mounted."
    return None


LONG_ROWS: tuple[Row, ...] = (
    accepted("type", one_of("volume"), "Only `volume`.", "type: volume", schema={"const": "volume"}),
    accepted("source", text, "The name of a declared volume.", "source: data", schema={"type": "string"}),
    accepted("target", text, "An absolute path.", "target: /data", schema={"type": "string"}, required=True),
    accepted("read_only", boolean, "Mount it read-only.", "read_only: true", schema={"type": "boolean"}),
    rejected(
        "bind", "Options of a bind mount have no meaning for a volume.", "bind: {propagation: rshared}",
        hint="Remove it.", code="compose.mount_bind_options",
    ),
    rejected(
        "volume", "The node decides how a volume is filled; parts of a volume cannot be mounted.",
        "volume: {subpath: x}", hint="Remove it.", code="compose.mount_volume_options",
    ),
    rejected(
        "tmpfs", "Options of a tmpfs have no meaning for a volume.", "tmpfs: {size: 1000}",
        hint="Remove it.", code="compose.mount_tmpfs_options",
    ),
    rejected(
        "image", "Images cannot be mounted.", "image: {subpath: x}", hint="Remove it.",
        code="compose.mount_image_options",
    ),
    rejected(
        "consistency", "It has no effect on Linux.", "consistency: cached", hint="Remove it.",
        code="compose.mount_consistency",
    ),
)  # fmt: skip
_long_members = mapping(LONG_ROWS, "a mount")
_OTHER_KINDS = ("tmpfs", "npipe", "cluster", "image")


def _long(item: Node, reading: Reading) -> MountRead | None:
    kind_node = nodes.child(item, "type")
    kind = kind_node.value if kind_node is not None and type(kind_node) is nodes.Scalar else None
    if kind == "bind":
        return _long_bind(item, reading)
    if kind in _OTHER_KINDS:
        reading.error(
            item,
            "compose.mount_type",
            f"Mounts of type `{kind}` are not accepted.",
            "Use the service's `tmpfs` key." if kind == "tmpfs" else "Use a named volume.",
            (remove(item),),
        )
        return None
    members = _long_members(item, reading)
    if members is None or "target" not in members:
        return None
    at = members.nodes
    if "type" not in at:
        reading.error(
            item, "compose.missing", "`type` is missing from a mount.", "Add `type: volume`.",
            (add(item, "type", value="volume"),),
        )  # fmt: skip
    target = _target(at["target"], members["target"], reading, lambda cured: cured)
    if "source" not in at:
        _anonymous(item, reading)
        return None
    source = members.get("source")
    if source is None or not _named(at["source"], source, reading) or target is None:
        return None
    return MountRead(item, "volume", source, target, members.get("read_only", False), at["source"], at["target"])


def _long_bind(item: Node, reading: Reading) -> MountRead:
    def written(name: str) -> str:
        node = nodes.child(item, name)
        return node.value if node is not None and type(node) is nodes.Scalar else ""

    target = written("target")
    if target_fault(target) is not None:
        target = ""
    read_only = written("read_only") in ("true", "True", "TRUE")
    return MountRead(item, "bind", written("source"), target, read_only, item, item, _bind(item, reading))


def cured_bind(mount: MountRead, name: str) -> Any:
    """What stands in place of a bind mount once it is the named volume `name`."""
    target = stripped(mount.target)
    if len(name) == 1 or type(mount.node) is nodes.Mapping:
        return _long_form(name, target, read_only=mount.read_only)
    return f"{name}:{target}{':ro' if mount.read_only else ''}"


def volume_name_for(source: str) -> str | None:
    """The volume's name that a bind mount suggests: the last part of a relative source, if it has no dot."""
    if source[:1] in ("/", "~", "\\") or "$" in source:
        return None
    last = source.rstrip("/").rpartition("/")[2]
    if not last or "." in last:
        return None
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", last).strip("-_")[:60].strip("-_")
    return name or None


def tmpfs(node: Node, reading: Reading) -> list[tuple[Node, str]] | None:
    """Paths of memory, one or a list. Answers each with its node."""
    items = node.value if type(node) is nodes.Sequence else [node]
    read = [(item, _tmpfs_path(item, reading)) for item in items]
    return [(item, path) for item, path in read if path is not None]


def _tmpfs_path(item: Node, reading: Reading) -> str | None:
    value = text(item, reading)
    if value is None:
        return None
    path, colon, _ = value.partition(":")
    fault = target_fault(path)
    if fault is not None:
        reading.error(item, "compose.mount_target", fault, "Choose an absolute path of the app's own.")
        return None
    if colon:
        reading.error(
            item,
            "compose.tmpfs_options",
            "Options of a tmpfs are set by the node: its size is the service's memory limit.",
            "Write the path alone.",
            (replace(item, path),),
        )
    return stripped(path)

"""Manifests submitted as JSON: turned into the Compose document that means the same, and read by the same rules.

Nothing can pass here that a Compose file could not say, because what is accepted is what the Compose door made of it;
whatever a manifest says beyond that shows as a difference between what was sent and what came out, and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from deployments.domain import compose
from deployments.domain import manifest as manifests
from deployments.domain.compose import json_loader, nodes
from deployments.domain.compose.findings import echo
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.quantities import cpus_text
from deployments.domain.compose.rules import Reading
from deployments.domain.manifest import Manifest

_TOP: Final = ("v", "services", "volumes", "routes", "pre_flight", "worker")
_SERVICE: Final = (
    "image", "command", "entrypoint", "environment", "volumes", "depends_on", "healthcheck", "resources",
    "update_order", "restart", "user", "working_dir", "read_only", "init", "tmpfs", "stop_grace_period_ms",
    "stop_signal", "shm_size_bytes", "cap_drop", "cap_add",
)  # fmt: skip
_MOUNT: Final = ("source", "target", "read_only")
_RESOURCES: Final = ("memory_bytes", "pids", "nano_cpus")
_HEALTHCHECK: Final = ("test", "http", *manifests.HEALTH_TIMINGS)
_HTTP: Final = ("path", "port", "status_from", "status_to")
_VOLUME: Final = ("size_gb",)


def parse(raw: bytes) -> compose.Parsed:
    """Read a manifest. Pointers of problems lead into the JSON that was sent. Never raises."""
    reading = Reading()
    tree = json_loader.read(raw, reading)
    if tree.root is None:
        root = nodes.marker(0, 0)
        return compose.answer(root, reading, None, nodes.Paths(root))
    root = tree.root
    writer = _Writer(reading)
    document = writer.document(root)
    found: Manifest | None = None
    if document is not None:
        found = compose.read(document, reading)
    for finding in reading.errors:
        finding.fix = None  # edits are made on Compose files; a manifest is answered with pointers and hints
    if found is not None:
        _nothing_lost(root, manifests.to_json(found), reading)
    if reading.errors:
        found = None
    return compose.answer(root, reading, found, nodes.Paths(root, writer.origins))


class _Writer:
    """Writes the Compose document of a manifest's tree, with nodes that remember where they came from."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.origins: dict[int, Node] = {}
        self._kept: list[Node] = []  # keeps identities alive, by which `origins` is asked

    # Making nodes

    def _made(self, origin: Node, key: str, node: Node) -> Node:
        """The node under another key, without touching the one that was sent."""
        kind = type(node)
        if kind is nodes.Scalar:
            twin = nodes.made(node, node.value, style=node.style)
        elif kind is nodes.Mapping:
            twin = nodes.made_mapping(node, node.value)
        else:
            twin = nodes.Sequence(None, None, True, node.start_mark, node.end_mark)
            twin.value = node.value
        twin.key = nodes.made(origin, key)
        return self._from(twin, origin)

    def _from(self, node: Node, origin: Node) -> Node:
        self.origins[id(node)] = origin
        self._kept.append(node)
        return node

    def _group(self, origin: Node, key: str, members: list[Node]) -> Node:
        node = nodes.made_mapping(origin, members)
        node.key = nodes.made(origin, key)
        return self._from(node, origin)

    def _text(self, origin: Node, key: str, text: str) -> Node:
        node = nodes.made(origin, text)
        node.key = nodes.made(origin, key)
        return self._from(node, origin)

    # Reading shapes

    def _members(self, node: Node, known: tuple[str, ...], what: str) -> dict[str, Node] | None:
        if type(node) is not nodes.Mapping:
            self._wrong(node, f"Expected {what}.")
            return None
        found: dict[str, Node] = {}
        for child in node.value:
            if child.key.value in known:
                found[child.key.value] = child
            else:
                self._wrong(child, f"{echo(child.key.value)} is no member of {what}.")
        return found

    def _wrong(self, node: Node, message: str) -> None:
        self.reading.error(node, "manifest.shape", message, "Send a manifest as it was answered, or a Compose file.")

    def _integer(self, node: Node, scale: Callable[[int], str]) -> str | None:
        if nodes.kind_of(node) == "integer" and nodes.CANONICAL_INTEGER.fullmatch(node.value):
            return scale(int(node.value))
        self._wrong(node, "Expected an integer.")
        return None

    # The document

    def document(self, root: Node) -> Node | None:
        """The Compose document, or None if the manifest has not even its shape."""
        top = self._members(root, _TOP, "a manifest")
        if top is None:
            return None
        version = top.get("v")
        if version is None or nodes.kind_of(version) != "integer" or version.value != str(manifests.VERSION):
            self._wrong(version or root, f"Only manifests of version {manifests.VERSION} are read: `v` says which.")
        members: list[Node] = []
        services = top.get("services")
        if services is not None:
            members.append(self._each(services, "services", self._service))
        volumes = top.get("volumes")
        if volumes is not None:
            members.append(self._each(volumes, "volumes", self._volume))
        for key, name in (("routes", "x-sam-routes"), ("pre_flight", "x-sam-pre-flight"), ("worker", "x-sam-worker")):
            node = top.get(key)
            if node is not None:
                members.append(self._made(node, name, self._literals(node)))
        document = nodes.made_mapping(root, members)
        return self._from(document, root)

    def _each(self, node: Node, key: str, write: Callable[[Node], Node | None]) -> Node:
        if type(node) is not nodes.Mapping:
            return self._made(node, key, node)
        written = []
        for child in node.value:
            twin = write(child)
            if twin is not None:
                twin.key = child.key
                written.append(twin)
        return self._group(node, key, written)

    def _volume(self, node: Node) -> Node | None:
        members = self._members(node, _VOLUME, "a volume")
        if members is None:
            return None
        size = [self._made(child, "x-sam-size-gb", child) for child in members.values()]
        return self._group(node, "", size)

    def _service(self, node: Node) -> Node | None:
        members = self._members(node, _SERVICE, "a service")
        if members is None:
            return None
        written: list[Node] = []
        deploy: list[Node] = []
        for key, child in members.items():
            if key == "resources":
                deploy += self._limits(child)
            elif key == "update_order":
                deploy.append(self._group(child, "update_config", [self._made(child, "order", child)]))
            else:
                twin = self._member(key, child)
                if twin is not None:
                    written.append(twin)
        if deploy:
            written.append(self._group(node, "deploy", deploy))
        return self._group(node, "", written)

    def _member(self, key: str, child: Node) -> Node | None:
        if key == "environment":
            return self._made(child, key, child)
        if key in ("stop_grace_period_ms", "shm_size_bytes"):
            unit = "ms" if key.endswith("_ms") else ""
            text = self._integer(child, lambda value: f"{value}{unit}")
            return None if text is None else self._text(child, key.rpartition("_")[0], text)
        if key == "volumes":
            return self._mounts(child)
        if key == "healthcheck":
            return self._healthcheck(child)
        if key in ("command", "entrypoint", "tmpfs", "cap_drop", "cap_add") and type(child) is not nodes.Sequence:
            self._wrong(child, f"`{key}` is a list.")
            return None
        return self._made(child, key, self._literals(child))

    def _literals(self, node: Node) -> Node:
        """The node with every dollar doubled: outside `environment` a manifest holds texts as they are."""
        kind = type(node)
        if kind is nodes.Scalar:
            if "$" not in node.value:
                return node
            twin = self._from(nodes.made(node, node.value.replace("$", "$$"), style=node.style), node)
        elif kind is nodes.Mapping:
            twin = self._from(nodes.made_mapping(node, [self._literals(child) for child in node.value]), node)
        else:
            twin = self._from(nodes.Sequence(None, None, True, node.start_mark, node.end_mark), node)
            twin.value = [self._literals(child) for child in node.value]
        if hasattr(node, "key"):
            twin.key = node.key
        return twin

    def _limits(self, node: Node) -> list[Node]:
        members = self._members(node, _RESOURCES, "resources")
        if members is None:
            return []
        written = []
        names: Mapping[str, tuple[str, Callable[[int], str]]] = {
            "memory_bytes": ("memory", str), "pids": ("pids", str), "nano_cpus": ("cpus", _cpus),
        }  # fmt: skip
        for key, child in members.items():
            name, scale = names[key]
            text = self._integer(child, scale)
            if text is not None:
                written.append(self._text(child, name, text))
        return [self._group(node, "resources", [self._group(node, "limits", written)])]

    def _mounts(self, node: Node) -> Node | None:
        if type(node) is not nodes.Sequence:
            self._wrong(node, "`volumes` is a list.")
            return None
        items = []
        for item in node.value:
            members = self._members(item, _MOUNT, "a mount")
            if members is not None:
                kept = [self._made(child, key, self._literals(child)) for key, child in members.items()]
                items.append(self._group(item, "", [self._text(item, "type", "volume"), *kept]))
        twin = nodes.Sequence(None, None, True, node.start_mark, node.end_mark)
        twin.value = items
        twin.key = nodes.made(node, "volumes")
        return self._from(twin, node)

    def _healthcheck(self, node: Node) -> Node | None:
        members = self._members(node, _HEALTHCHECK, "a healthcheck")
        if members is None:
            return None
        written = []
        for key, child in members.items():
            if key == "http":
                twin = self._http(child)
            elif key.endswith("_ms"):
                text = self._integer(child, lambda value: f"{value}ms")
                twin = None if text is None else self._text(child, key.removesuffix("_ms"), text)
            elif key == "test" and type(child) is not nodes.Sequence:
                self._wrong(child, "`test` is a list.")
                twin = None
            else:
                twin = self._made(child, key, self._literals(child))
            if twin is not None:
                written.append(twin)
        return self._group(node, "healthcheck", written)

    def _http(self, node: Node) -> Node | None:
        members = self._members(node, _HTTP, "http")
        if members is None:
            return None
        written = [
            self._made(members[key], key, self._literals(members[key])) for key in ("path", "port") if key in members
        ]
        bounds = [self._integer(members[key], str) for key in ("status_from", "status_to") if key in members]
        if len(bounds) == 2 and None not in bounds:
            written.append(self._text(members["status_from"], "status", f"{bounds[0]}-{bounds[1]}"))
        elif bounds and None not in bounds:
            self._wrong(node, "`status_from` and `status_to` come together.")
        return self._group(node, "x-sam-http", written)


def _cpus(value: int) -> str:
    return cpus_text(value) if value >= 0 else str(value)


def _nothing_lost(sent: Node, made: Any, reading: Reading) -> None:
    """Note the first member of each branch that did not come out of the door as it went in."""
    waiting: list[tuple[Node, Any]] = [(sent, made)]
    while waiting:
        node, value = waiting.pop()
        kind = type(node)
        if kind is nodes.Mapping and isinstance(value, dict):
            for child in node.value:
                if child.key.value in value:
                    waiting.append((child, value[child.key.value]))
                elif nodes.plain_value(child) not in ([], {}, False):
                    _lost(child, reading)
        elif kind is nodes.Sequence and isinstance(value, list | tuple) and len(value) == len(node.value):
            waiting += zip(node.value, value, strict=True)
        elif kind is not nodes.Scalar or not _same(nodes.plain_value(node), value):
            _lost(node, reading)


def _same(sent: Any, made: Any) -> bool:
    return type(sent) is type(made) and bool(sent == made)


def _lost(node: Node, reading: Reading) -> None:
    reading.error(
        node,
        "manifest.not_normal",
        "This is not what the same release would say as a Compose file.",
        "Send a manifest as it was answered: sorted routes, integers in their units, references as ${NAME}.",
    )

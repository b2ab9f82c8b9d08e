"""What a client does with `fix`: apply the edits of one answer to the document that it sent, and write it anew."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deployments.domain.compose import loader, nodes
from deployments.domain.compose.findings import Findings
from deployments.domain.problems import Edit, Problem


@dataclass(frozen=True)
class Plain:
    """A plain scalar that is no text in some version of YAML: written as it was read."""

    text: str


def model(document: bytes) -> Any:
    """The document as dicts, lists, texts and Plain; of a key that stands twice the last value counts."""
    tree = loader.read(document, Findings())
    assert tree.root is not None
    return _model(tree.root)


def _model(node: Any) -> Any:
    kind = type(node)
    if kind is nodes.Mapping:
        return {child.key.value: _model(child) for child in node.value}
    if kind is nodes.Sequence:
        return [_model(child) for child in node.value]
    if kind is not nodes.Scalar:
        return None
    if not node.style and (nodes.kind_of(node) != "text" or nodes.ambiguous(node.value)):
        return Plain(node.value or "null")
    return node.value


def written(value: Any) -> bytes:
    """The model as YAML in flow style."""
    return _written(value).encode("utf-8", "surrogatepass")


def _written(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_written(each) for each in value) + "]"
    if isinstance(value, Plain):
        return value.text
    text = json.dumps(value, ensure_ascii=False)
    return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def fixes(problems: Iterable[Problem]) -> list[Edit]:
    return [edit for problem in problems for edit in problem.fix or ()]


def applied(root: Any, edits: Iterable[Edit]) -> Any:
    """All edits together: places are looked up first; then replacements, moves, additions; removals last, from the
    highest index of an array downwards."""
    resolved = [(edit, _parent(root, edit.source or edit.pointer)) for edit in edits]
    for edit, (parent, key) in resolved:
        if edit.op == "replace":
            parent[key] = edit.value
    moved = [(edit, parent[key]) for edit, (parent, key) in resolved if edit.op == "move" and key in parent]
    for edit, (parent, key) in resolved:
        if edit.op == "move":
            parent.pop(key, None)
    for edit, value in [*moved, *((edit, edit.value) for edit, _ in resolved if edit.op == "add")]:
        _set(root, edit.pointer, value)
    removals = [(parent, key) for edit, (parent, key) in resolved if edit.op == "remove"]
    indices: dict[int, tuple[list[Any], set[int]]] = {}
    for parent, key in removals:
        if isinstance(parent, list):
            indices.setdefault(id(parent), (parent, set()))[1].add(int(key))
        else:
            parent.pop(key, None)
    for parent, found in indices.values():
        for index in sorted(found, reverse=True):
            del parent[index]
    return root


def _parts(pointer: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _parent(root: Any, pointer: str) -> tuple[Any, Any]:
    *way, last = _parts(pointer)
    node = root
    for part in way:
        node = node[int(part)] if isinstance(node, list) else node.get(part, {}) if isinstance(node, dict) else {}
    return node, int(last) if isinstance(node, list) else last


def _set(root: Any, pointer: str, value: Any) -> None:
    *way, last = _parts(pointer)
    node = root
    for part in way:
        if isinstance(node, list):
            node = node[int(part)]
            continue
        below = node.get(part)
        if below is None or (isinstance(below, Plain) and below.text in nodes.NULL_WORDS):
            below = node[part] = {}
        node = below
    node[last] = value


def cured(document: bytes, problems: Iterable[Problem]) -> bytes:
    """The document after every fix of one answer."""
    return written(applied(model(document), fixes(problems)))

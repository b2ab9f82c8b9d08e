"""Reads a rendered Compose file into plain values, from the event stream alone and within bounds.

The file is signed, and still read as if it were foreign: whoever signs may be fooled, and the node's policy must judge
exactly what Compose will see. So nothing that gives one text two meanings is let through: no aliases, anchors, tags,
directives, second documents, merge keys or duplicates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from .wire.fetch import MAX_COMPOSE_BYTES

MAX_NODES = 50_000
MAX_DEPTH = 20
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

Node = dict[str, Any] | list[Any] | str | None
"""A tree of objects, arrays and texts; None is a null written plainly. Numbers and booleans stay the text they are."""


class ComposeFileError(ValueError):
    """The file cannot be read, or says something in a way that the renderer never does."""


def load(raw: bytes) -> Node:
    """The document as a tree of dict, list, str and None. Raises ComposeFileError; linear time on any input."""
    if len(raw) > MAX_COMPOSE_BYTES:
        raise ComposeFileError(f"The file is larger than {MAX_COMPOSE_BYTES} bytes")
    try:
        text = raw.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise ComposeFileError("The file is not UTF-8") from error
    if text.startswith("\ufeff"):
        raise ComposeFileError("The file starts with a byte order mark")
    try:
        return _Builder().build(yaml.parse(text, Loader=_LOADER))
    except ComposeFileError:
        raise
    except Exception as error:
        # libyaml's binding lets more than YAMLError out (ValueError and UnicodeError among them).
        raise ComposeFileError("The file is not YAML") from error


class _Builder:
    """Builds the tree without recursion, counting as it goes."""

    def __init__(self) -> None:
        self._root: list[Node] = []
        self._open: list[dict[str, Any] | list[Any]] = [self._root]
        self._keys: list[str | None] = [None]
        self._nodes = 0

    def build(self, events: Iterator[yaml.Event]) -> Node:
        for event in events:
            self._take(event)
        if len(self._root) != 1:
            raise ComposeFileError("There is not exactly one document")
        return self._root[0]

    def _take(self, event: yaml.Event) -> None:
        match event:
            case yaml.ScalarEvent() | yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._count(event)
                self._add(event)
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._close()
            case yaml.DocumentStartEvent() if event.version or event.tags:
                raise ComposeFileError("There is a directive")
            case yaml.AliasEvent():
                raise ComposeFileError("There is an alias")

    def _count(self, event: yaml.NodeEvent) -> None:
        self._nodes += 1
        if self._nodes > MAX_NODES or len(self._open) > MAX_DEPTH:
            raise ComposeFileError(f"There are more than {MAX_NODES} nodes, or {MAX_DEPTH} levels")
        if event.anchor is not None:
            raise ComposeFileError("There is an anchor")
        if getattr(event, "tag", None) is not None:
            raise ComposeFileError("There is a tag")

    def _add(self, event: yaml.NodeEvent) -> None:
        parent = self._open[-1]
        if isinstance(parent, dict) and self._keys[-1] is None:
            self._keys[-1] = self._key(event, parent)
            return
        value = self._value(event)
        if isinstance(parent, dict):
            parent[str(self._keys[-1])] = value
            self._keys[-1] = None
        else:
            parent.append(value)
        if isinstance(value, (dict, list)):
            self._open.append(value)
            self._keys.append(None)

    def _key(self, event: yaml.NodeEvent, parent: dict[str, Any]) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            raise ComposeFileError("A key is not a text")
        if event.value in parent:
            raise ComposeFileError("A key is given twice")
        if not event.style and event.value == "<<":
            raise ComposeFileError("There is a merge key")
        return str(event.value)

    def _value(self, event: yaml.NodeEvent) -> Node:
        if isinstance(event, yaml.ScalarEvent):
            # pyyaml gives a plain scalar the style None from Python and "" from libyaml.
            return None if not event.style and event.value in _NULLS else str(event.value)
        return [] if isinstance(event, yaml.SequenceStartEvent) else {}

    def _close(self) -> None:
        self._open.pop()
        self._keys.pop()

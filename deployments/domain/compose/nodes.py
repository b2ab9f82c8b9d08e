"""Nodes: the events of libyaml's parser, used as the tree itself, and what a plain scalar means in YAML 1.2.

A scalar is a ScalarEvent. A mapping or sequence is its start event, with the list of its children as `value`; a child
of a mapping has its key's event as `key`. What cannot be looked into (an alias, whatever lies too deep) is an
AliasEvent, on which every rule is silent because its fault was reported when it was read.
"""

from __future__ import annotations

import re
from typing import Any, Final

from yaml.events import AliasEvent, MappingStartEvent, ScalarEvent, SequenceStartEvent

from deployments.domain.problems import escaped

Node = Any  # PyYAML's events have no common base with `value` and `key`; the four kinds above are all there is.
Scalar: Final[Any] = ScalarEvent
Mapping: Final[Any] = MappingStartEvent
Sequence: Final[Any] = SequenceStartEvent
Opaque: Final[Any] = AliasEvent

NULL_WORDS: Final = frozenset(("", "~", "null", "Null", "NULL"))
BOOLEAN_WORDS: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# What only some versions of YAML take for a boolean (the 1.1 type repository), and its two special keys.
_AMBIGUOUS_WORDS = frozenset(
    ["y", "Y", "yes", "Yes", "YES", "n", "N", "no", "No", "NO", "on", "On", "ON", "off", "Off", "OFF", "=", "<<"]
)

# How plain scalars begin that are anything but a text in one version of YAML or the other: numbers, and short words.
NUMERIC_FIRST: Final = frozenset("0123456789+-.")
WORD_FIRST: Final = frozenset(("", *"~=<nNtTfFyYoO"))
LONGEST_WORD: Final = 5

CANONICAL_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT_1_1 = re.compile(
    r"[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
    re.ASCII,
)
_FLOAT_1_2 = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII
)
_INTEGER_1_1 = re.compile(
    r"[-+]?0b[0-1_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+",
    re.ASCII,
)
_INTEGER_1_2 = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]*)?(?:[ \t]*(?:Z|[-+][0-9]{1,2}(?::[0-9]{2})?))?",
    re.ASCII,
)
# How numbers and times of either version end: a digit of any base, or a word for infinity and the like.
_NUMERIC_LAST = frozenset("0123456789abcdefABCDEF_.:NnZ")


def ambiguous(text: str) -> bool:
    """True if YAML 1.1 and YAML 1.2 read this plain scalar as different values."""
    if text[:1] not in NUMERIC_FIRST:
        return text in _AMBIGUOUS_WORDS
    if text[-1] not in _NUMERIC_LAST or _INTEGER.fullmatch(text):
        return False
    if _INTEGER_1_1.fullmatch(text) or _INTEGER_1_2.fullmatch(text) or _TIMESTAMP.fullmatch(text):
        return True
    old = _FLOAT_1_1.fullmatch(text) is not None
    new = _FLOAT_1_2.fullmatch(text) is not None
    return old != new or (old and "_" in text)


def kind_of_plain(text: str) -> str:
    """`null`, `boolean`, `integer`, `float` or `text`: what YAML 1.2's core schema makes of a plain scalar."""
    first = text[:1]
    if first not in NUMERIC_FIRST:
        if first not in WORD_FIRST or len(text) > LONGEST_WORD:
            return "text"
        return "null" if text in NULL_WORDS else "boolean" if text in BOOLEAN_WORDS else "text"
    if text.isdecimal() and text.isascii() and (first != "0" or text == "0"):
        return "integer"
    if text[-1] not in _NUMERIC_LAST:
        return "text"
    if _INTEGER.fullmatch(text):
        return "integer"
    if _FLOAT_1_2.fullmatch(text):
        return "text" if ambiguous(text) else "float"
    return "text"


def kind_of(node: Node) -> str:
    """As `kind_of_plain`, and `mapping`, `sequence` or `opaque`."""
    kind = type(node)
    if kind is Scalar:
        return "text" if node.style else kind_of_plain(node.value)
    return "mapping" if kind is Mapping else "sequence" if kind is Sequence else "opaque"


def is_null(node: Node) -> bool:
    """True for a plain scalar that means null."""
    return type(node) is Scalar and not node.style and node.value in NULL_WORDS


def child(node: Node, name: str) -> Node | None:
    """The first value under `name`, or None."""
    if type(node) is Mapping:
        for value in node.value:
            if value.key.value == name:
                return value
    return None


class Paths:
    """The RFC 6901 pointer of any node of a tree.

    Nodes do not know their parents: that would make circles, which only the garbage collector can free. The first few
    questions follow the marks downwards; whoever asks more often gets an index of the whole tree.
    `origins` maps nodes that were made while reading to the nodes of the document that they stand for.
    """

    _FEW = 16

    def __init__(self, root: Node, origins: dict[int, Node] | None = None) -> None:
        self._root = root
        self._origins = origins or {}
        self._parents: dict[int, tuple[Node, str]] | None = None
        self._asked = 0

    def pointer(self, node: Node) -> str:
        """The pointer of `node`, "" for the root and for what has no place in the tree."""
        while id(node) in self._origins:
            node = self._origins[id(node)]
        if node is self._root:
            return ""
        self._asked += 1
        if self._asked <= self._FEW:
            parts = _way_down(self._root, node)
            if parts is not None:
                return "".join(f"/{escaped(part)}" for part in parts)
        return self._way_up(node)

    def _way_up(self, node: Node) -> str:
        if self._parents is None:
            self._parents = _parents(self._root)
        parts: list[str] = []
        while node is not self._root:
            above = self._parents.get(id(node))
            if above is None:  # a mark without a node: a broken byte, or what stands in a key
                return ""
            node, part = above
            parts.append(part)
        return "".join(f"/{escaped(part)}" for part in reversed(parts))


def _way_down(root: Node, goal: Node) -> list[str] | None:
    """The parts that lead to `goal`, found by its mark; None if the marks do not lead there."""
    line, column = goal.start_mark.line, goal.start_mark.column
    parts: list[str] = []
    node = root
    while True:
        kind = type(node)
        if kind is not Mapping and kind is not Sequence:
            return None
        below, part = None, ""
        for number, value in enumerate(node.value):
            mark = value.key.start_mark if kind is Mapping else value.start_mark
            if mark.line > line or (mark.line == line and mark.column > column):
                break
            below, part = value, value.key.value if kind is Mapping else str(number)
        if below is None:
            return None
        parts.append(part)
        if below is goal or (kind is Mapping and below.key is goal):
            return parts
        node = below


def _parents(root: Node) -> dict[int, tuple[Node, str]]:
    found: dict[int, tuple[Node, str]] = {}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        kind = type(node)
        if kind is not Mapping and kind is not Sequence:
            continue
        for number, value in enumerate(node.value):
            if kind is Mapping:
                found[id(value)] = found[id(value.key)] = (node, value.key.value)
            else:
                found[id(value)] = (node, str(number))
            waiting.append(value)
    return found


def locate(root: Node, pointer: str) -> tuple[int, int]:
    """Line and column of the node at `pointer`, or of the nearest one above it that the document has."""
    node = root
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        below = child(node, name) if type(node) is Mapping else _item(node, name)
        if below is None:
            break
        node = below
    return place(node)


def _item(node: Node, name: str) -> Node | None:
    if type(node) is Sequence and name.isascii() and name.isdigit() and len(name) < 6 and int(name) < len(node.value):
        return node.value[int(name)]
    return None


class Mark:
    """A place, counted from 0 as libyaml counts."""

    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column


def marker(line: int, column: int) -> Node:
    """A node that stands for a place and nothing else, for faults that no node has. Counted from 0."""
    mark = Mark(line, column)
    return Scalar(None, None, (True, False), "", mark, mark, "")


def made(origin: Node, text: str, *, style: str = '"') -> Node:
    """A scalar that was made while reading and stands where `origin` stands."""
    return Scalar(None, None, (True, False), text, origin.start_mark, origin.end_mark, style)


def made_mapping(origin: Node, members: list[Node]) -> Node:
    """A mapping that was made while reading and stands where `origin` stands; the members have their keys."""
    node = Mapping(None, None, True, origin.start_mark, origin.end_mark)
    node.value = members
    return node


def place(node: Node) -> tuple[int, int]:
    """Line and column of a node, counted from 1."""
    mark = node.start_mark
    return mark.line + 1, mark.column + 1


def plain_value(node: Node) -> Any:
    """The node as JSON values, for a fix that carries it to another place. Numbers that are not integers stay text."""
    kind = type(node)
    if kind is Mapping:
        return {value.key.value: plain_value(value) for value in node.value}
    if kind is Sequence:
        return [plain_value(value) for value in node.value]
    if kind is not Scalar:
        return None
    meaning = kind_of(node)
    if meaning == "null":
        return None
    if meaning == "boolean":
        return BOOLEAN_WORDS[node.value]
    return int(node.value, 0) if meaning == "integer" else node.value

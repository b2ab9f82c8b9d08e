"""JSON to the same tree that YAML gives, with marks, so that a manifest passes the very rules of a Compose file."""

from __future__ import annotations

import json
import re
from json import decoder
from typing import Any, Final

from deployments.domain.compose import characters, nodes
from deployments.domain.compose.findings import Findings, echo
from deployments.domain.compose.loader import MAX_NODES, MAX_SCALAR_BYTES, Tree
from deployments.domain.compose.nodes import Mark, Node

MAX_BYTES: Final = 256 * 1024
MAX_DEPTH: Final = 16
# The C string reader of the standard library, which tells where it stopped; its stub leaves it out.
_scan_string: Any = decoder.scanstring  # type: ignore[attr-defined]
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]{0,18})(?![0-9.eE])")


class _FaultError(Exception):
    def __init__(self, at: int, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.at, self.code, self.message, self.hint = at, code, message, hint


def read(document: bytes, findings: Findings) -> Tree:
    """Read one JSON document: strict, no duplicate members, integers only. Faults are noted, nothing is raised."""
    if len(document) > MAX_BYTES:
        return _stopped(findings, nodes.marker(0, 0), "manifest.too_long", f"At most {MAX_BYTES:,} bytes are read.",
                        "Submit a smaller manifest.")  # fmt: skip
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        return _stopped(findings, nodes.marker(0, 0), "manifest.syntax", "This is not UTF-8.", "Send UTF-8.")
    reader = _Reader(text, findings)
    try:
        return Tree(reader.read(), whole=True)
    except _FaultError as fault:
        return _stopped(findings, reader.marker(fault.at), fault.code, fault.message, fault.hint)


def _stopped(findings: Findings, node: Node, code: str, message: str, hint: str) -> Tree:
    findings.error(node, code, message, hint)
    return Tree(None, whole=False)


class _Reader:
    def __init__(self, text: str, findings: Findings) -> None:
        self._text = text
        self._findings = findings
        self._at = 0
        self._count = 0
        self._seen, self._line, self._line_start = 0, 0, 0

    def read(self) -> Node:
        """The root. Depth is bounded, so recursion is too."""
        root = self._value(1)
        self._skip()
        if self._at != len(self._text):
            raise self._syntax("Something follows the document")
        return root

    def marker(self, at: int) -> Node:
        """A node for the place `at`, which may lie before what was marked last."""
        before = self._text[:at]
        return nodes.marker(before.count("\n"), at - before.rfind("\n") - 1)

    def _mark(self) -> Mark:
        newlines = self._text.count("\n", self._seen, self._at)
        if newlines:
            self._line += newlines
            self._line_start = self._text.rfind("\n", self._seen, self._at) + 1
        self._seen = self._at
        return Mark(self._line, self._at - self._line_start)

    def _skip(self) -> str:
        """Pass white space; answer the next character, or nothing at the end."""
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at
        return self._text[self._at : self._at + 1]

    def _syntax(self, what: str) -> _FaultError:
        return _FaultError(self._at, "manifest.syntax", f"{what}.", "Send one JSON document (RFC 8259).")

    def _value(self, depth: int) -> Node:
        letter = self._skip()
        if depth > MAX_DEPTH:
            raise _FaultError(
                self._at, "manifest.too_deep", "This lies too deep.", "Send a manifest as it was answered."
            )
        self._count += 1
        if self._count > MAX_NODES * 4:
            raise _FaultError(self._at, "manifest.too_long", "There are too many values.", "Submit a smaller manifest.")
        if letter == "{":
            return self._object(depth)
        if letter == "[":
            return self._array(depth)
        if letter == '"':
            return self._string()
        mark = self._mark()
        found = _PLAIN.match(self._text, self._at)
        if found is None:
            raise self._syntax("Expected a value; numbers are integers here")
        self._at = found.end()
        return nodes.Scalar(None, None, (True, False), found.group(), mark, mark, "")

    def _string(self) -> Node:
        mark = self._mark()
        start = self._at
        try:
            value, self._at = _scan_string(self._text, self._at + 1, True)
        except json.JSONDecodeError as error:
            self._at = error.pos
            raise self._syntax("This string is not closed, or holds an escape that is none") from error
        node = nodes.Scalar(None, None, (False, True), value, mark, mark, '"')
        refused = characters.UNESCAPED.search(value)
        if refused:
            self._findings.error(
                node,
                "compose.character",
                f"The character {characters.name_of(refused.group())} is not accepted.",
                "Remove it.",
            )
            node.value = characters.UNESCAPED.sub("?", value)
        if self._at - start > MAX_SCALAR_BYTES // 4 and len(node.value.encode()) > MAX_SCALAR_BYTES:
            self._findings.error(
                node, "compose.scalar_too_long", "This value is too long.", "Move long texts into the image."
            )
        return node

    def _object(self, depth: int) -> Node:
        mark = self._mark()
        node = nodes.Mapping(None, None, True, mark, mark)
        node.value = []
        names: set[str] = set()
        self._at += 1
        if self._skip() == "}":
            self._at += 1
            return node
        while True:
            if self._skip() != '"':
                raise self._syntax("Expected the name of a member")
            key = self._string()
            if key.value in names:
                self._findings.error(
                    key,
                    "compose.duplicate_key",
                    f"The member {echo(key.value)} stands here twice.",
                    "Keep one of the two.",
                )
            names.add(key.value)
            if self._skip() != ":":
                raise self._syntax("Expected a colon")
            self._at += 1
            value = self._value(depth + 1)
            value.key = key
            node.value.append(value)
            if self._ends("}"):
                return node

    def _array(self, depth: int) -> Node:
        mark = self._mark()
        node = nodes.Sequence(None, None, True, mark, mark)
        node.value = []
        self._at += 1
        if self._skip() == "]":
            self._at += 1
            return node
        while True:
            node.value.append(self._value(depth + 1))
            if self._ends("]"):
                return node

    def _ends(self, closing: str) -> bool:
        letter = self._skip()
        if letter not in (",", closing) or not letter:
            raise self._syntax(f"Expected a comma or {closing}")
        self._at += 1
        return letter == closing

"""Findings: faults noted on nodes while a document is read, and how they become problems with places and edits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from deployments.domain.compose import characters, nodes
from deployments.domain.compose.nodes import Node
from deployments.domain.problems import Edit, Operation, Problem, Severity, pointer_to

MAX_PROBLEMS: Final = 200
MORE: Final = "compose.more"
LONGEST_ECHO: Final = 80


@dataclass(frozen=True, slots=True)
class Draft:
    """An edit on nodes, whose pointers are worked out only if the problem is shown.

    The place that is edited is `path` below the node `at`; `source` is the node that a `move` takes away.
    """

    op: Operation
    at: Node
    path: tuple[str, ...] = ()
    value: Any = None
    source: Node | None = None


def remove(node: Node) -> Draft:
    """Take the node out of its mapping or list."""
    return Draft("remove", node)


def replace(node: Node, value: Any) -> Draft:
    """Put a JSON value in the node's place."""
    return Draft("replace", node, value=value)


def add(parent: Node, *path: str, value: Any) -> Draft:
    """Set the member at `path` below `parent`, making what is missing on the way."""
    return Draft("add", parent, path, value=value)


def move(source: Node, parent: Node, *path: str) -> Draft:
    """Carry the node to `path` below `parent`."""
    return Draft("move", parent, path, source=source)


Fix = tuple[Draft, ...] | None


@dataclass(slots=True)
class Finding:
    """One fault on one node; `at_key` if the fault is the key's, not the value's."""

    node: Node
    severity: Severity
    code: str
    message: str
    hint: str
    fix: Fix = None
    at_key: bool = False

    def place(self) -> tuple[int, int]:
        """Line and column, from 1."""
        return nodes.place(self.node.key if self.at_key else self.node)


class Findings:
    """What one reading found. Rules call `error` and `warning`; `problems` sorts, bounds and places.

    `left_out` counts errors that were not even noted, because more than enough stand before them. The loader and the
    rules each walk the document from its beginning; `walk_again` says that the second walk starts.
    """

    __slots__ = ("_before", "errors", "left_out", "warnings")

    def __init__(self) -> None:
        self.errors: list[Finding] = []
        self.warnings: list[Finding] = []
        self.left_out = 0
        self._before = 0

    def walk_again(self) -> None:
        """From here on errors are noted from the beginning of the document once more."""
        self._before = len(self.errors)

    def enough(self) -> bool:
        """True if whoever notes errors in the order of the document need only count from here on."""
        if len(self.errors) - self._before < MAX_PROBLEMS:
            return False
        self.left_out += 1
        return True

    def error(
        self, node: Node, code: str, message: str, hint: str, fix: Fix = None, *, at_key: bool = False
    ) -> Finding:
        """Note a fault that refuses the document."""
        finding = Finding(node, "error", code, message, hint, fix, at_key)
        self.errors.append(finding)
        return finding

    def warning(self, node: Node, code: str, message: str, hint: str, *, at_key: bool = False) -> None:
        """Note what the author should know, and does not refuse the document."""
        self.warnings.append(Finding(node, "warning", code, message, hint, None, at_key))

    def mismatch(self, node: Node, wanted: str) -> None:
        """Note that the node is not what its place takes: null, or another kind of value."""
        kind = nodes.kind_of(node)
        if kind == "opaque":
            return
        if kind == "null":
            self.null(node)
            return
        fix: Fix = None
        if kind in ("boolean", "integer", "float") and wanted.startswith("a string"):
            fix = (replace(node, node.value),)
        self.error(
            node,
            "compose.type",
            f"Expected {wanted} here, found {_article(kind)}.",
            "Quote it." if fix else f"Write {wanted}.",
            fix,
        )

    def null(self, node: Node, *, removable: bool = True) -> None:
        """Note a null, with the edit that removes it unless something is required there."""
        self.error(
            node,
            "compose.null",
            "A null says nothing here.",
            "Remove it, or give it a value.",
            (remove(node),) if removable else None,
        )


def problems(found: Iterable[Finding], paths: nodes.Paths, left_out: int = 0) -> tuple[Problem, ...]:
    """The findings as problems in the order of the document, at most 200, then one that counts the rest.

    `left_out` is how many more there are that were never noted; they lie behind the first 200.
    """
    ordered = sorted(found, key=Finding.place)
    shown = [_problem(finding, paths) for finding in ordered[:MAX_PROBLEMS]]
    left_out += len(ordered) - len(shown)
    noun = "error" if not shown or shown[0].severity == "error" else "warning"
    if left_out:
        last = shown[-1]
        shown.append(
            Problem(
                MORE, last.severity, "", last.line, last.column,
                f"{left_out} more {noun}{'s' * (left_out > 1)} not shown.",
                "Cure the ones above and send the document again.",
            )
        )  # fmt: skip
    return tuple(shown)


def _problem(finding: Finding, paths: nodes.Paths) -> Problem:
    line, column = finding.place()
    fix = None if finding.fix is None else tuple(_edit(draft, paths) for draft in finding.fix)
    return Problem(
        finding.code, finding.severity, paths.pointer(finding.node), line, column, finding.message, finding.hint, fix
    )


def _edit(draft: Draft, paths: nodes.Paths) -> Edit:
    source = None if draft.source is None else paths.pointer(draft.source)
    return Edit(draft.op, paths.pointer(draft.at) + pointer_to(*draft.path), draft.value, source)


def echo(text: str) -> str:
    """A text of the author, quoted and bounded, for a message. Never for values of `environment`."""
    shown = text if len(text) <= LONGEST_ECHO else f"{text[: LONGEST_ECHO - 1]}…"
    # A refused character could rearrange the message that quotes it.
    return f"`{characters.UNESCAPED.sub(_named, shown)}`"


def _named(match: re.Match[str]) -> str:
    return characters.name_of(match.group())


def _article(kind: str) -> str:
    return {"integer": "an integer", "text": "a string", "sequence": "a list"}.get(kind, f"a {kind}")

"""Problems: what is wrong with something submitted, where, why, and the edits that cure it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

Severity = Literal["error", "warning"]
Operation = Literal["remove", "replace", "add", "move"]

DOCS_PREFIX: Final = "/api/v1/problems/#"


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of the document that was sent. Pointers are RFC 6901 and resolved before any edit is made.

    `value` belongs to `replace` and `add`, `source` (on the wire `from`) to `move`.
    """

    op: Operation
    pointer: str
    value: Any = None
    source: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The edit as 3 members at most: op, pointer and what the operation needs."""
        if self.op == "move":
            return {"op": self.op, "from": self.source, "pointer": self.pointer}
        if self.op == "remove":
            return {"op": self.op, "pointer": self.pointer}
        return {"op": self.op, "pointer": self.pointer, "value": self.value}


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault, in the shape that every door answers. Lines and columns count from 1; a column is one character."""

    code: str
    severity: Severity
    pointer: str
    line: int | None
    column: int | None
    message: str
    hint: str
    fix: tuple[Edit, ...] | None = None

    @property
    def docs(self) -> str:
        """Where the code is explained, with an example and its cure."""
        return DOCS_PREFIX + self.code

    def as_json(self) -> dict[str, Any]:
        """The problem as it goes over the wire."""
        return {
            "code": self.code,
            "severity": self.severity,
            "pointer": self.pointer,
            "line": self.line,
            "column": self.column,
            "message": self.message,
            "hint": self.hint,
            "fix": None if self.fix is None else [edit.as_json() for edit in self.fix],
            "docs": self.docs,
        }


class Places:
    """Where each pointer of a submitted document stands, for problems that are found after parsing."""

    __slots__ = ("_locate",)

    def __init__(self, locate: Callable[[str], tuple[int, int] | None] | None = None) -> None:
        self._locate = locate

    def find(self, pointer: str) -> tuple[int | None, int | None]:
        """Line and column of `pointer`, or of its nearest ancestor that the document has; (None, None) without any."""
        found = self._locate(pointer) if self._locate is not None else None
        return found or (None, None)


def pointer_to(*parts: str | int) -> str:
    """The RFC 6901 pointer that leads along `parts`."""
    return "".join(f"/{escaped(str(part))}" for part in parts)


def escaped(part: str) -> str:
    """One reference token, with `~` and `/` escaped."""
    return part.replace("~", "~0").replace("/", "~1")

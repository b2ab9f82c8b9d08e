"""Every public code: what it means, an example of it, and its cure. Listed at `GET /api/v1/problems/`.

What can be wrong with a submitted document stands with its rules, in deployments.domain; all else in catalogue.toml.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from django.conf import settings

from .domain import catalogue as documents
from .domain.problems import DOCS_PREFIX
from .domain.reference import anchor

_FILE = Path(__file__).with_suffix(".toml")
# Some documents are wrong by their sheer size; the beginning shows enough of them.
_EXAMPLE_MAX_LENGTH = 400


@dataclass(frozen=True, slots=True)
class Entry:
    """`status` is the HTTP status it comes with, None for what stands inside `problems`, `waiting` or `evidence`."""

    code: str
    severity: str
    status: int | None
    title: str
    example: str
    cure: str

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "severity": self.severity,
            "status": self.status,
            "title": self.title,
            "example": self.example,
            "cure": self.cure,
            "docs": DOCS_PREFIX + self.code,
        }


def entries() -> list[Entry]:
    """All of them, sorted by code."""
    return [_by_code()[code] for code in sorted(_by_code())]


def type_of(code: str) -> str:
    """The URI that names this kind of refusal, and leads to the catalogue."""
    return f"{settings.PUBLIC_URL}{DOCS_PREFIX}{code}"


def title_of(code: str, status: int) -> str:
    entry = _by_code().get(code)
    return entry.title if entry else HTTPStatus(status).phrase


@cache
def _by_code() -> dict[str, Entry]:
    return {entry.code: entry for entry in (*_of_file(), *_of_documents())}


def _of_file() -> Iterator[Entry]:
    with _FILE.open("rb") as file:
        rows = tomllib.load(file)
    for code, row in rows.items():
        yield Entry(code, "error", row.get("status"), row["title"], row["example"], row["cure"])


def _of_documents() -> Iterator[Entry]:
    for entry in documents.entries():
        example = entry.example
        if len(example) > _EXAMPLE_MAX_LENGTH:
            example = f"{example[:_EXAMPLE_MAX_LENGTH]} ... ({len(example)} characters)"
        yield Entry(entry.code, entry.severity, None, entry.title, example, entry.cure)


def as_markdown() -> str:
    """docs/problems.md, which a test compares with this."""
    head = (
        "# Problems\n\nEvery code that a refusal or a problem can have. The same list is answered at"
        " `GET /api/v1/problems/`.\nThis page is written by `manage.py problems --markdown`.\n"
    )
    return head + "".join(_section(entry) for entry in entries())


def _section(entry: Entry) -> str:
    status = f" (HTTP {entry.status})" if entry.status else ""
    title = entry.title.rstrip(".")
    head = f'\n<a id="{anchor(entry.code)}"></a>\n\n## {entry.code}\n{title}{status}.\n'
    return f"{head}\nExample:{_example(entry.example)}\n\nCure: {entry.cure}\n"


def _example(text: str) -> str:
    """A document as a block, a sentence as it is."""
    if "\n" not in text and ":" not in text:
        return f" {text}"
    # Whatever cannot be seen is escaped, so that the page itself stays plain text.
    seen = "".join(each if each == "\n" or each.isprintable() else f"\\u{ord(each):04x}" for each in text)
    return "\n\n" + "\n".join(f"    {line}" for line in seen.rstrip("\n").split("\n"))

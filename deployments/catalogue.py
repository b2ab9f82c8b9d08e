"""Every public code: what it means, an example of it, and its cure. Listed at `GET /api/v1/problems/`."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path

from django.conf import settings

from .domain.problems import DOCS_PREFIX

_FILE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True, slots=True)
class Entry:
    """`status` is the HTTP status it comes with, None for what stands inside `problems`, `waiting` or `evidence`."""

    code: str
    status: int | None
    title: str
    example: str
    cure: str

    def as_json(self) -> dict[str, str | int | None]:
        return asdict(self)


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
    with _FILE.open("rb") as file:
        rows = tomllib.load(file)
    return {
        code: Entry(code, row.get("status"), row["title"], row["example"], row["cure"]) for code, row in rows.items()
    }


def as_markdown() -> str:
    """docs/problems.md, which a test compares with this."""
    head = (
        "# Problems\n\nEvery code that a refusal or a problem can have. The same list is answered at"
        " `GET /api/v1/problems/`.\nThis page is written by `manage.py problems --markdown`.\n"
    )
    return head + "".join(_section(entry) for entry in entries())


def _section(entry: Entry) -> str:
    status = f" (HTTP {entry.status})" if entry.status else ""
    return f"\n## {entry.code}\n{entry.title}{status}.\n\n- Example: {entry.example}\n- Cure: {entry.cure}\n"

"""The reference pages, written from the rows and the catalogue, so that they cannot say anything else than the code."""

from __future__ import annotations

from collections.abc import Iterable

from deployments.domain import catalogue
from deployments.domain.compose.rules import Row

_NOTE = "<!-- Written by `make golden` from the table of keys; edit the table instead. -->\n"


def compose_page() -> str:
    """docs/compose.md: every key, the decision, what it takes or why it is refused, and an example."""
    rows = [row for _, found, _ in catalogue.MAPPINGS for row in found]
    counts = {
        decision: sum(row.decision == decision for row in rows) for decision in ("accepted", "dropped", "rejected")
    }
    lines = [
        "# Compose: the accepted subset\n",
        _NOTE,
        f"{counts['accepted']} keys are accepted, {counts['dropped']} are dropped with a warning, and "
        f"{counts['rejected']} are refused, each for its own reason. Any other key is refused as unknown; foreign "
        "`x-*` keys are dropped with a warning. `manage.py compose_check FILE` tells every fault of a file at once.\n",
    ]
    for what, found, _ in catalogue.MAPPINGS:
        lines += [f"## {what[0].upper()}{what[1:]}\n", *_table(found)]
    return "\n".join(lines)


def _table(rows: Iterable[Row]) -> list[str]:
    ordered = sorted(rows, key=lambda row: ("accepted", "dropped", "rejected").index(row.decision))
    lines = ["| key | | what it takes, or why not | example | refused |", "|---|---|---|---|---|"]
    for row in ordered:
        refused = row.example if row.decision == "rejected" else row.refused
        example = "" if row.decision == "rejected" else row.example
        says = f"{row.says} {row.hint}" if row.decision == "rejected" else row.says
        key = f"`{row.key}`{' (required)' if row.required else ''}"
        code = f"[{row.code}](problems.md#{anchor(row.code)})" if row.code else row.decision
        lines.append(f"| {key} | {code} | {_cell(says)} | {_code(example)} | {_code(refused)} |")
    return [*lines, ""]


def anchor(code: str) -> str:
    """The anchor of a code on the page of problems."""
    return code.replace(".", "-")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{_cell(text)}`" if text else ""

"""Writes docs/state-machines.md from the tables that the code obeys, so that the page cannot say anything else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from deployments.domain import states
from scripts import places

PAGE = places.CHECKOUT / "docs" / "state-machines.md"
_INTRODUCTION = """\
# State machines

Every state, every edge, and who takes it. Written by `make docs` from `deployments/domain/states.py`; a test compares
them. A move is one conditional UPDATE with its event in the same transaction (`timeline/transitions.py`): whoever comes
second changes nothing, and constraints in PostgreSQL stand on top (one live release, one with the node, one open order,
one node per environment).

Agent profiles, tokens and projects have no states. What a node reports of an environment is six independent dimensions
(app, node, provider, routes, disk, drift), each `ok`, `warning`, `failed`, `unknown` or `none`; they never become one.
"""
_NOUNS: Mapping[str, Mapping[Any, Mapping[Any, str]]] = {  # each of its own StrEnum
    "Release": states.RELEASE_EDGES,
    "Stop or retire order": states.ORDER_EDGES,
    "Environment": states.ENVIRONMENT_EDGES,
    "Node": states.NODE_EDGES,
    "Volume": states.VOLUME_EDGES,
}


def page() -> str:
    """The page's text."""
    return _INTRODUCTION + "".join(_section(noun, edges) for noun, edges in _NOUNS.items())


def _section(noun: str, edges: Mapping[StrEnum, Mapping[StrEnum, str]]) -> str:
    rows = [f"| {was} | {to} | {who} |" for was, targets in edges.items() for to, who in targets.items()]
    ends = [state for state in type(next(iter(edges))) if not edges.get(state)]
    table = "\n".join(["| from | to | who takes the edge |", "|---|---|---|", *rows])
    return f"\n## {noun}\n{table}\n\nEnds: {', '.join(ends) or 'none'}.\n"


def main() -> int:
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())

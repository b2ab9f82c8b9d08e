"""The name that was probably meant: the nearest one by edits, transpositions included."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 40


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name at the least distance: at most one edit up to four letters, at most two beyond. None without one.

    Ties go to the first in alphabetical order, so that the same mistake always has the same answer.
    """
    if len(name) > _LONGEST:
        return None
    lowered = name.lower().replace("-", "_")
    best: tuple[int, str] | None = None
    for candidate in sorted(known):
        allowed = 1 if min(len(candidate), len(lowered)) <= 4 else 2
        if abs(len(candidate) - len(lowered)) > allowed:
            continue
        found = distance(lowered, candidate.lower().replace("-", "_"))
        if found <= allowed and (best is None or found < best[0]):
            best = (found, candidate)
    return best[1] if best else None


def distance(one: str, other: str) -> int:
    """Insertions, deletions, substitutions and swaps of neighbours that turn `one` into `other`."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        previous, before, row = before, row, [i]
        for j, wanted in enumerate(other, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != wanted))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == wanted:
                cost = min(cost, previous[j - 2] + 1)
            row.append(cost)
    return row[-1]

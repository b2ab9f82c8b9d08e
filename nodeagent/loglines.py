"""Whole lines out of the pieces in which Docker keeps a log: pure, so that every way of being cut can be tried.

Docker cuts a line after 16 KiB and gives each piece a time of its own. A redactor that looked at pieces would find no
value that lies across a cut, so lines are put together first, and what is left of a line without its beginning is
never shown.
"""

from __future__ import annotations

from collections.abc import Iterable

LOOK_BACK_SECONDS = 60
"""How much earlier than asked reading begins, so that a line which was begun before is known from its beginning."""


def whole(pieces: Iterable[bytes], *, skip_first: bool = False) -> list[tuple[str, str]]:
    """(time of its first piece, text) of each line. A piece is `TIME TEXT`, and ends with LF where its line ends.

    `skip_first`: the first piece is there only to tell whether the second begins a line; it goes, with its line's rest.
    """
    rows: list[tuple[bytes, bytearray]] = []
    is_open, is_skipping = False, skip_first
    for piece in pieces:
        at, _, text = piece.partition(b" ")
        if is_skipping:
            is_skipping = not text.endswith(b"\n")
            continue
        if is_open:
            rows[-1][1].extend(text)
        else:
            rows.append((at, bytearray(text)))
        is_open = not text.endswith(b"\n")
    return [(at.decode(), text.decode(errors="replace").removesuffix("\n").rstrip("\r")) for at, text in rows]

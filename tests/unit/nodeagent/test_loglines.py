from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodeagent import loglines

AT = "2026-11-25T04:48:23.{:09d}Z"
TEXT = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=40)


def _pieces(lines: list[str], size: int) -> list[bytes]:
    """As Docker's json-file driver answers with timestamps: each piece of a line has a time of its own."""
    pieces: list[bytes] = []
    for line in lines:
        raw = line.encode() + b"\n"
        for start in range(0, len(raw), size):
            pieces.append(AT.format(len(pieces)).encode() + b" " + raw[start : start + size])
    return pieces


@given(st.lists(TEXT, max_size=8), st.integers(1, 50))
def test_a_line_is_whole_again_wherever_it_was_cut(lines: list[str], size: int) -> None:
    assert [text for _, text in loglines.whole(_pieces(lines, size))] == lines


@given(st.lists(TEXT, min_size=1, max_size=8), st.integers(1, 50), st.data())
def test_a_tail_holds_no_line_without_its_beginning(lines: list[str], size: int, data: st.DataObject) -> None:
    pieces = _pieces(lines, size)
    kept = data.draw(st.integers(1, len(pieces)))
    tail = pieces[-(kept + 1) :]
    shown = [text for _, text in loglines.whole(tail, skip_first=len(tail) > kept)]
    assert shown == lines[len(lines) - len(shown) :]


def test_a_line_that_has_not_ended_yet_is_shown() -> None:
    assert loglines.whole([b"T1 begun and "]) == [("T1", "begun and ")]

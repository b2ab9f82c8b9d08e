"""Which characters a document may contain: one regular expression over the whole text, one over unescaped scalars."""

from __future__ import annotations

import re
from typing import Final

# Unicode 15.1 categories Cc, Cf, Cs, Co as ranges, without TAB and LF; a test holds them against unicodedata.
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_FORMAT = (
    r"\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064"
    r"\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f"
)
_SURROGATE_AND_PRIVATE = r"\ud800-\udfff\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
_REFUSED = _CONTROL + _FORMAT + _SURROGATE_AND_PRIVATE

# libyaml breaks lines at U+2028 and U+2029 (and U+0085, a control) and editors do not, so line numbers would disagree;
# its reader stops at U+FFFE and U+FFFF.
_RAW_ONLY = r"\u2028\u2029\ufffe\uffff"

_CARRIAGE_RETURN_BEFORE_LINE_FEED = r"(?!\r\n)"
RAW: Final = re.compile(rf"{_CARRIAGE_RETURN_BEFORE_LINE_FEED}[{_REFUSED}{_RAW_ONLY}]")
UNESCAPED: Final = re.compile(rf"[{_REFUSED}]")


def name_of(character: str) -> str:
    """`U+202E`, never the character itself: it could rearrange the very message that names it."""
    return f"U+{ord(character):04X}"

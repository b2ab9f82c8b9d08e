"""Which characters a document may contain: one regular expression over the whole text, one over unescaped scalars."""

from __future__ import annotations

import re
from typing import Final

# Unicode 15.1 categories Cc, Cf, Cs, Co as ranges, without TAB and LF; a test holds them against unicodedata.
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f"
_CONTROL_BUT_CR = r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"
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

# A carriage return is refused unless a line feed follows; it stands apart because a look ahead at each character of
# a clean text would cost more than all the rest of the reading.
RAW: Final = re.compile(rf"[{_REFUSED.replace(_CONTROL, _CONTROL_BUT_CR)}{_RAW_ONLY}]|\r(?!\n)")
UNESCAPED: Final = re.compile(rf"[{_REFUSED}]")

_PLAIN_ASCII = bytes((0x09, 0x0A, *range(0x20, 0x7F)))


def raw_is_clean(document: bytes, text: str) -> bool:
    """True if no raw character of the document is refused. The usual one is printable ASCII: read at a glance."""
    return not document.translate(None, _PLAIN_ASCII) or RAW.search(text) is None


def name_of(character: str) -> str:
    """`U+202E`, never the character itself: it could rearrange the very message that names it."""
    return f"U+{ord(character):04X}"

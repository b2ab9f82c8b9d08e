"""Keeps values out of text: as they are, without surrounding white space, and in the forms that programs print them in.

Shared by both ends: the node redacts before it signs or sends, the control plane once more with what it alone knows.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

MASK = "[redacted]"
MIN_CHARACTERS = 4
"""Shorter values would hide half of every log; they are refused as secrets for that reason."""


def _base64_forms(value: str) -> Iterable[str]:
    """Base64 of the value at each of the three offsets that it can have inside something longer."""
    raw = value.encode()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode().rstrip("=")
        for offset in (1, 2):
            # The first characters mix with what stands before, the last with what comes after: neither can be matched.
            inner = encode(b"\0" * offset + raw).decode().rstrip("=")[offset + 1 :]
            yield inner[:-1]


def _forms(value: str) -> Iterable[str]:
    yield value
    yield json.dumps(value)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
    yield quote(value, safe="")
    yield quote(value)
    yield quote_plus(value)
    yield from _base64_forms(value)


class Redactor:
    """Call it with a text to have every form of every value masked. Its repr shows nothing of the values."""

    def __init__(self, values: Iterable[str]) -> None:
        known = {text for value in values for text in (value, value.strip()) if len(text) >= MIN_CHARACTERS}
        forms = {form for text in known for form in _forms(text) if len(form) >= MIN_CHARACTERS}
        # Longest first, so that a value which contains another one leaves no rest behind.
        ordered = sorted(forms, key=lambda form: (-len(form), form))
        self._pattern = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def __repr__(self) -> str:
        return "Redactor()"

"""Keeps values out of text, in the forms in which programs print them.

Shared by both ends: the node redacts before it signs or sends, the control plane once more with what it alone knows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MIN_CHARACTERS = 4
"""Shorter values would hide half of every log; they are refused as secrets for that reason."""
MASK = "[redacted]"
_MIN_INNER_BASE64 = 12
"""Of base64 that starts inside a longer text, so few letters that chance would find them are left alone."""


class Redactor:
    """Knows every form of some values. It holds plaintext: keep it no longer than needed; its repr shows nothing."""

    def __init__(self, values: Iterable[str]):
        found = {form for value in values for form in forms(value)}
        # Longest first: a value that contains another one must not be left in halves.
        self._forms = sorted(found, key=len, reverse=True)

    def redact(self, text: str) -> str:
        """The text with every form replaced."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, MASK)
        return text

    __call__ = redact

    def __repr__(self) -> str:
        return "Redactor()"


def forms(value: str) -> Iterator[str]:
    """Every form of a value of four or more characters; none of a shorter one."""
    for plain in {value, value.strip(), *_lines(value)}:
        if len(plain) >= MIN_CHARACTERS:
            yield from _encodings(plain)


def _lines(value: str) -> list[str]:
    """A value of several lines (a key in PEM, say) reaches a log one line at a time."""
    lines = [line.strip() for line in value.splitlines()]
    return [line for line in lines if len(line) >= 2 * MIN_CHARACTERS] if len(lines) > 1 else []


def _encodings(plain: str) -> Iterator[str]:
    yield plain
    for escaped in (json.dumps(plain), json.dumps(plain, ensure_ascii=False)):
        yield escaped[1:-1]
        yield escaped[1:-1].replace("/", "\\/")
    for encoded in (quote(plain), quote(plain, safe=""), quote_plus(plain)):
        yield encoded
        yield _lower_escapes(encoded)
    yield from _base64(plain.encode("utf-8", "surrogatepass"))


def _lower_escapes(encoded: str) -> str:
    """%2F as %2f; the rest as it is."""
    head, *rest = encoded.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


def _base64(content: bytes) -> Iterator[str]:
    """The value encoded alone, and the letters that any longer text around it would have in common."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        alone = encode(content).decode()
        yield alone
        yield alone.rstrip("=")
        for before in (0, 1, 2):
            inner = encode(bytes(before) + content).decode().rstrip("=")
            first = (before * 8 + 5) // 6
            letters = inner[first : (before + len(content)) * 8 // 6]
            if len(letters) >= _MIN_INNER_BASE64:
                yield letters

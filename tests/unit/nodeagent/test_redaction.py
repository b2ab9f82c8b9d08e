"""Redaction: no form of a value leaves the node."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodeagent.wire.redaction import MASK, Redactor

SECRET = 'pä"ss/wo rd+\\x'
FORMS = {
    "plain": SECRET,
    "json": json.dumps(SECRET)[1:-1],
    "json, not only ASCII": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "json with escaped slashes": json.dumps(SECRET)[1:-1].replace("/", "\\/"),
    "url": quote(SECRET, safe=""),
    "url with slashes": quote(SECRET),
    "url in lower case": quote(SECRET, safe="").replace("%C3%A4", "%c3%a4").replace("%22", "%22").lower(),
    "form": quote_plus(SECRET),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(SECRET.encode()).decode().rstrip("="),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_found_in_every_form(form: str) -> None:
    assert FORMS[form] not in Redactor([SECRET]).redact(f"before {FORMS[form]} after")


def test_a_secret_inside_a_basic_header_is_found() -> None:
    header = base64.b64encode(f"user:{SECRET}-tail".encode()).decode()
    assert MASK in Redactor([SECRET]).redact(header)


def test_white_space_around_a_value_is_no_hiding_place() -> None:
    assert Redactor(["  hunter22\n"]).redact("got hunter22.") == f"got {MASK}."


def test_each_line_of_a_long_value_is_found_alone() -> None:
    key = "-----BEGIN KEY-----\nMIIabcdefgh0123\n-----END KEY-----\n"
    assert "MIIabcdefgh0123" not in Redactor([key]).redact("line 2: MIIabcdefgh0123")


def test_a_value_inside_another_leaves_no_rest() -> None:
    assert Redactor(["pass", "password-long"]).redact("password-long") == MASK


def test_short_and_empty_values_redact_nothing() -> None:
    assert Redactor(["", "abc", "   "]).redact("abc def") == "abc def"


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=4, max_size=30), st.text(max_size=20))
def test_a_value_never_survives(value: str, around: str) -> None:
    cleaned = Redactor([value]).redact(f"{around}{value}{around}")
    assert value not in cleaned or value in MASK


def test_a_redactor_shows_nothing_of_itself() -> None:
    assert "hunter22" not in repr(Redactor(["hunter22"]))

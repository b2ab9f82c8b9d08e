"""The secrets of one checkout: made once, kept in .sam/*.key, 0600."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

from scripts import places


def _text() -> str:
    return secrets.token_urlsafe(48)


def _password() -> str:
    return secrets.token_urlsafe(18)


def _hexadecimal() -> str:
    return secrets.token_hex(24)  # goes into URLs and configuration files unquoted


def _key_encryption_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


MAKERS: dict[str, Callable[[], str]] = {
    "secret": _text,  # Django's
    "kek": _key_encryption_key,  # what secrets at rest are wrapped with: without it they are lost
    "database": _hexadecimal,
    "redis": _hexadecimal,
    "registry-http": _hexadecimal,
    "admin": _password,
}


def keep(where: places.Places, name: str) -> str:
    """The secret of that name, made at the first call."""
    path = where.state / f"{name}.key"
    if not path.exists():
        places.write_privately(path, MAKERS[name]())
    return path.read_text()

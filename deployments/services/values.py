"""Variables and secrets of an environment: set, unset, listed by name, and opened only to be sealed for a node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from timeline import events

from ..errors import InvalidValue, NotFound
from ..models import Environment, NamedValue
from . import vault

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}", re.ASCII)
MAX_BYTES = 32 * 1024
# No log could be redacted of anything shorter without becoming unreadable.
SECRET_MIN_CHARACTERS = 4


@dataclass(frozen=True, slots=True)
class Plain:
    """An opened value; its repr shows no text."""

    version: int
    text: str
    is_secret: bool

    def __repr__(self) -> str:
        return f"Plain(version={self.version}, is_secret={self.is_secret})"


def _context(environment_id: object, name: str, version: int) -> str:
    return f"value:{environment_id}:{name}:{version}"


def _checked(kind: str, name: str, value: bytes) -> tuple[str, list[str]]:
    """The text and the warnings about it. Raises InvalidValue."""
    if not NAME.fullmatch(name):
        raise InvalidValue(name, "is no name", "A name is a letter or _, then up to 127 letters, digits, _ or -.")
    if len(value) > MAX_BYTES:
        raise InvalidValue(
            name,
            f"the value has more than the {MAX_BYTES} bytes that are kept",
            "Keep files in a volume or the image.",
        )
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as fault:
        raise InvalidValue(
            name, f"the value is not UTF-8 (byte {fault.start})", "Encode binary values, for instance as base64."
        ) from None
    if "\0" in text:
        raise InvalidValue(
            name, "the value holds a NUL, which no environment variable can", "Encode binary values as base64."
        )
    if kind == NamedValue.SECRET and len(text) < SECRET_MIN_CHARACTERS:
        raise InvalidValue(
            name,
            f"a secret under {SECRET_MIN_CHARACTERS} characters cannot be redacted from logs",
            "Use a longer one, or a variable.",
        )
    warnings = (
        ["The value ends with a newline, which is kept. Send it with printf '%s' if that was not meant."]
        if text.endswith("\n")
        else []
    )
    return text, warnings


def set_value(
    *, environment: Environment, kind: str, name: str, value: bytes, by: Mapping[str, str]
) -> tuple[NamedValue, list[str]]:
    """Set a variable or a secret; answers the row and warnings. Running releases keep what they were sealed with.

    Raises InvalidValue, also when the name is taken by the other kind: both share one namespace.
    """
    text, warnings = _checked(kind, name, value)
    with transaction.atomic():
        # The environment row serialises writers, and its lock makes the version counter safe.
        Environment.objects.locked(environment.pk)
        row = NamedValue.objects.filter(environment=environment, name=name).first()
        if row and row.kind != kind:
            raise InvalidValue(
                name,
                f"is a {row.kind} of this environment already",
                f"Unset the {row.kind} first, or choose another name.",
            )
        version = _next_version(environment)
        row = row or NamedValue(environment=environment, name=name, kind=kind)
        row.version, row.set_by, row.set_at = version, dict(by), timezone.now()
        if kind == NamedValue.SECRET:
            row.ciphertext, row.kek_id = vault.seal(text.encode(), context=_context(environment.pk, name, version))
        else:
            row.value = text
        row.save()
        events.record(
            **environment.event_place(),
            subject=("environment", environment.pk),
            kind=f"{kind}:set",
            by=by,
            data={"name": name, "version": version},
        )
    return row, warnings


def _next_version(environment: Environment) -> int:
    """One counter for all names of an environment, so that a name set again after an unset never repeats a version."""
    environment.value_version = Environment.objects.values_list("value_version", flat=True).get(pk=environment.pk) + 1
    Environment.objects.filter(pk=environment.pk).update(value_version=environment.value_version)
    return environment.value_version


def unset(*, environment: Environment, kind: str, name: str, by: Mapping[str, str]) -> None:
    """Raises NotFound. Releases that refer to the name can no longer be made; what runs goes on."""
    with transaction.atomic():
        deleted, _ = NamedValue.objects.filter(environment=environment, kind=kind, name=name).delete()
        if not deleted:
            raise NotFound(kind, name)
        events.record(
            **environment.event_place(),
            subject=("environment", environment.pk),
            kind=f"{kind}:unset",
            by=by,
            data={"name": name},
        )


def listed(*, environment: Environment, kind: str) -> list[NamedValue]:
    return list(NamedValue.objects.filter(environment=environment, kind=kind).defer("ciphertext"))


def versions(environment: Environment) -> dict[str, int]:
    """Name to version, of variables and secrets together."""
    return dict(NamedValue.objects.filter(environment=environment).values_list("name", "version"))


def plain(environment: Environment) -> dict[str, Plain]:
    """Every value opened, for sealing to a node. Raises vault.SealBroken."""
    return {
        row.name: Plain(row.version, _open(row), row.kind == NamedValue.SECRET)
        for row in NamedValue.objects.filter(environment=environment)
    }


def secret_texts(environment: Environment) -> list[str]:
    """The texts to keep out of logs."""
    return [_open(row) for row in NamedValue.objects.filter(environment=environment, kind=NamedValue.SECRET)]


def _open(row: NamedValue) -> str:
    if row.kind == NamedValue.VARIABLE:
        return row.value
    context = _context(row.environment_id, row.name, row.version)
    return vault.open_sealed(bytes(row.ciphertext or b""), context=context, kek_id=row.kek_id).decode()

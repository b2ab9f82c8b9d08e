from __future__ import annotations

import pytest
from django.db import connection

from deployments.errors import InvalidValue, NotFound
from deployments.models import Environment, NamedValue
from deployments.services import environments, values, vault

BY = {"operator": "tests"}
CANARY = "canary-7f3a-\U0001f511"


def _set(environment: Environment, name: str, value: bytes, kind: str = "secret") -> list[str]:
    return values.set_value(environment=environment, kind=kind, name=name, value=value, by=BY)[1]


def test_a_secret_is_nowhere_in_the_database_and_opens_again(environment: Environment) -> None:
    _set(environment, "TOKEN", CANARY.encode())
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM deployments_namedvalue v WHERE v::text LIKE %s", ["%canary%"])
        assert cursor.fetchone() == (0,)
        cursor.execute("SELECT count(*) FROM timeline_event e WHERE e::text LIKE %s", ["%canary%"])
        assert cursor.fetchone() == (0,)
    opened = values.plain(environment)["TOKEN"]
    assert opened.text == CANARY and opened.is_secret and CANARY not in repr(opened)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "OTHER"), ("version", 999), ("environment", None)],
    ids=["name", "version", "environment"],
)
def test_a_ciphertext_moved_to_another_place_does_not_open(environment: Environment, field: str, value: object) -> None:
    _set(environment, "TOKEN", CANARY.encode())
    if field == "environment":
        value = environments.create(project=environment.project, slug="staging", by=BY)
    NamedValue.objects.update(**{field: value})
    with pytest.raises(vault.SealBroken, match="cannot be opened"):
        values.plain(NamedValue.objects.get().environment)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("1X", b"long enough", "is no name"),
        ("X" * 129, b"long enough", "is no name"),
        ("X", b"abc", "under 4 characters"),
        ("X", b"abc\0def", "NUL"),
        ("X", b"\xff\xfe----", "not UTF-8"),
        ("X", b"x" * (32 * 1024 + 1), "more than the 32768"),
    ],
)
def test_what_cannot_be_a_secret_is_refused_with_the_reason(
    environment: Environment, name: str, value: bytes, said: str
) -> None:
    with pytest.raises(InvalidValue, match=said):
        _set(environment, name, value)
    assert not NamedValue.objects.exists()


def test_a_newline_at_the_end_is_kept_and_warned_about(environment: Environment) -> None:
    assert "kept" in _set(environment, "X", b"value\n")[0]
    assert values.plain(environment)["X"].text == "value\n"


def test_variables_and_secrets_share_one_namespace(environment: Environment) -> None:
    _set(environment, "X", b"value")
    with pytest.raises(InvalidValue, match="is a secret of this environment already"):
        _set(environment, "X", b"value", kind="variable")


def test_a_name_set_again_after_an_unset_never_repeats_a_version(environment: Environment) -> None:
    _set(environment, "X", b"value")
    before = values.versions(environment)["X"]
    values.unset(environment=environment, kind="secret", name="X", by=BY)
    _set(environment, "X", b"value")
    assert values.versions(environment)["X"] > before


def test_unsetting_what_is_not_set_says_so(environment: Environment) -> None:
    with pytest.raises(NotFound, match="There is no secret X"):
        values.unset(environment=environment, kind="secret", name="X", by=BY)

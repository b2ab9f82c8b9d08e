from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import scopes
from registry.scopes import Rights, Scope

ACME = Rights(namespace="acme")


def granted(*texts: str, rights: Rights = ACME) -> dict[str, set[str]]:
    return {name: set(actions) for name, actions in scopes.granted(scopes.parse(texts), rights).items()}


def test_the_intersection_is_granted_action_by_action() -> None:
    assert granted("repository:acme/web:pull,push,delete,*") == {"acme/web": {"pull", "push"}}


def test_a_mount_is_judged_on_its_source_and_its_target_apart() -> None:
    asked = ("repository:globex/web:pull", "repository:acme/web:pull,push")
    assert granted(*asked) == {"acme/web": {"pull", "push"}}
    assert granted(" ".join(asked)) == {"acme/web": {"pull", "push"}}


def test_scopes_on_one_repository_add_up() -> None:
    assert granted("repository:acme/web:pull", "repository:acme/web:push") == {"acme/web": {"pull", "push"}}


def test_named_repositories_are_for_pulling() -> None:
    rights = Rights(repositories=frozenset({"acme/web"}))
    assert granted("repository:acme/web:pull,push", "repository:acme/db:pull", rights=rights) == {"acme/web": {"pull"}}


@pytest.mark.parametrize(
    "text",
    [
        "repository:acme:push",
        "repository:acme-2/web:push",
        "repository:acme/../globex/web:push",
        "repository:127.0.0.1:5000/acme/web:push",
        "repository:acme/%2e%2e/globex:push",
        "repository:acme/web:",
        "repository::push",
        "repository(plugin):acme/web:push",
        "registry:catalog:*",
        "::",
        "",
    ],
)
def test_what_is_not_a_repository_of_the_namespace_earns_nothing(text: str) -> None:
    assert granted(text) == {}


def test_only_so_many_scopes_are_looked_at() -> None:
    many = [f"repository:acme/r{n}:pull" for n in range(1000)]
    assert len(granted(*many)) == scopes.MAX_SCOPES


def test_a_name_may_hold_a_colon_and_actions_do_not() -> None:
    assert scopes.parse(["repository:host:5000/a:pull"]) == [Scope("repository", "host:5000/a", frozenset({"pull"}))]


@given(st.lists(st.text(max_size=80), max_size=50))
def test_no_text_is_an_error_or_reaches_beyond_the_namespace(texts: list[str]) -> None:
    for name, actions in scopes.granted(scopes.parse(texts), ACME).items():
        assert name.startswith("acme/")
        assert actions <= {"pull", "push"}

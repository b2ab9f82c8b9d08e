from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry import namespaces
from registry.errors import InvalidNamespace

slugs = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,60}[A-Za-z0-9])?", fullmatch=True)


@pytest.mark.parametrize("slug", ["acme", "a", "0", "acme-web", "a.b_c__d--e"])
def test_a_slug_that_is_a_repository_name_is_its_own_namespace(slug: str) -> None:
    assert namespaces.of_project(slug) == slug


def test_slugs_that_fold_to_one_text_get_different_namespaces() -> None:
    folded = [namespaces.of_project(slug) for slug in ["acme", "Acme", "ACME", "acme-", "a--cme", "ac me"]]
    assert len(set(folded)) == len(folded)


@given(slugs, slugs)
def test_two_slugs_never_share_a_namespace(one: str, other: str) -> None:
    assert (namespaces.of_project(one) == namespaces.of_project(other)) == (one == other)


@given(st.text(min_size=1, max_size=300))
def test_a_namespace_is_one_valid_component_or_refused(slug: str) -> None:
    try:
        namespace = namespaces.of_project(slug)
    except InvalidNamespace:
        return
    assert namespaces.check(namespace) == namespace
    assert "/" not in namespace
    assert namespaces.owns(namespace, f"{namespace}/web")


@pytest.mark.parametrize("text", ["", "---", "\N{SNOWMAN}", "ÄÖ"])
def test_a_slug_without_a_letter_or_digit_is_refused(text: str) -> None:
    with pytest.raises(InvalidNamespace):
        namespaces.of_project(text)


@pytest.mark.parametrize(
    "repository",
    [
        "acme",
        "acme-2/web",
        "acmeweb",
        "acme/",
        "acme//web",
        "acme/../globex",
        "acme/Web",
        "acme/web\n",
        "/acme/web",
        "ACME/web",
    ],
)
def test_what_is_not_strictly_inside_is_not_owned(repository: str) -> None:
    assert not namespaces.owns("acme", repository)


def test_a_name_longer_than_the_registry_takes_is_no_repository() -> None:
    assert namespaces.is_repository("a" * 255)
    assert not namespaces.is_repository("a" * 256)

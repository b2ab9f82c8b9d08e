"""What is not the caller's is not there: 404, everywhere, in the same words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern

from deployments.api.agent import urls
from deployments.models import Environment, IdempotentCall, Release
from deployments.services import environments
from registry.models import QuotaWindow, RegistryMint
from tests.callers import Caller, accepted, assert_problem

pytestmark = pytest.mark.django_db


def routes() -> Iterator[tuple[str, str]]:
    """Every method and path of the API that names an environment, taken from the table of paths itself."""
    for pattern in urls.urlpatterns:
        view: Any = getattr(pattern.callback, "cls", None)
        path = str(pattern.pattern)
        if isinstance(pattern, URLPattern) and view is not None and "<str:slug>" in path:
            for method in view.http_method_names:
                if hasattr(view, method) and method not in ("options", "head"):
                    yield method.upper(), "/" + path


ROUTES = sorted(routes())


def test_the_sweep_covers_the_paths_of_the_contract() -> None:
    assert len(ROUTES) >= 13


def answers(caller: Caller, method: str, path: str, slug: str) -> Any:
    place = path.replace("<str:slug>", slug).replace("<str:sequence>", "1")
    return caller(method, place, data="{}", content_type="application/json", headers={"Idempotency-Key": "k"})


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_projects_environment_is_404(
    foreigner: Caller, environment: Environment, method: str, path: str
) -> None:
    accepted(environment)
    there = assert_problem(answers(foreigner, method, path, "production"), 404, "not_found")
    nowhere = assert_problem(answers(foreigner, method, path, "productiom"), 404, "not_found")
    assert there["detail"] == nowhere["detail"].replace("productiom", "production")
    assert Release.objects.count() == 1
    assert not RegistryMint.objects.exists()
    assert not QuotaWindow.objects.exists()
    assert not IdempotentCall.objects.exists()


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_an_environment_that_the_token_does_not_name_is_404(
    token: Callable[..., Caller], environment: Environment, staging: Environment, method: str, path: str
) -> None:
    accepted(environment)
    limited = token(environment_ids=[staging.pk])
    assert_problem(answers(limited, method, path, "production"), 404, "not_found")
    assert not RegistryMint.objects.exists()


@pytest.mark.parametrize(
    "slug", ["Production", "a" * 41, "..", "%00", "production%0a", "%F0%9F%92%A9", "-", "a--b", "%25s"]
)
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_what_cannot_be_a_name_is_404_and_never_an_error(caller: Caller, method: str, path: str, slug: str) -> None:
    assert_problem(answers(caller, method, path, slug), 404, "not_found")


@pytest.mark.parametrize("sequence", ["0", "2", "01", "-1", "abc", "9" * 18, "9" * 5000, "1.0", "%00", "%D9%A1"])
def test_a_release_that_does_not_exist_is_404(caller: Caller, environment: Environment, sequence: str) -> None:
    accepted(environment)
    for what in ("", "manifest/", "compose/", "events/"):
        assert_problem(caller.get(f"/environments/production/releases/{sequence}/{what}"), 404, "not_found")


def test_the_list_holds_what_the_token_names_and_nothing_else(
    token: Callable[..., Caller], environment: Environment, staging: Environment, foreigner: Caller
) -> None:
    def slugs(caller: Caller) -> list[str]:
        return [one["slug"] for one in json.loads(caller.get("/environments/").content)["results"]]

    assert slugs(token()) == ["staging", "production"]
    assert slugs(token(environment_ids=[staging.pk])) == ["staging"]
    assert slugs(foreigner) == ["elsewhere"]


def test_a_list_of_environments_asks_as_often_for_ten_as_for_two(caller: Caller, environment: Environment) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert caller.get("/environments/?limit=50").status_code == 200
        return len(captured)

    environments.create(project=environment.project, slug="second", by={"operator": "tests"})
    two = asked()
    for number in range(8):
        environments.create(project=environment.project, slug=f"other{number}", by={"operator": "tests"})
    assert asked() == two

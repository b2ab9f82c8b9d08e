"""The admin: everything is there, nothing secret is, nothing is edited, and actions call the services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import AgentToken, Project
from deployments.domain.states import ReleaseStatus
from deployments.models import Environment, NamedValue, Release
from deployments.services import environments, values
from tests.callers import Caller, accepted, became
from tests.situations import BY, placed

pytestmark = pytest.mark.django_db
OURS = ("agents", "deployments", "providers", "registry", "timeline")
MODELS = [model for label in OURS for model in apps.get_app_config(label).get_models()]


@pytest.fixture
def operator(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("op", password="not-used-here"))
    return client


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_every_model_has_a_list_and_can_be_searched_without_harm(operator: Client, model: Any) -> None:
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    for query in ("", "?q=web", "?q=%00", "?q=';--", "?e=1"):
        assert operator.get(path + query).status_code in (200, 302), query


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_row_is_added_changed_or_deleted_by_hand(operator: Client, model: Any) -> None:
    kind = admin.site._registry[model]
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    assert operator.get(reverse(f"{name}_add")).status_code == 403
    request = operator.get("/admin/").wsgi_request
    assert not kind.has_delete_permission(request)
    assert not kind.has_change_permission(request)


def all_rows(kind: Any) -> str:
    """The query string that lifts the first filter of a list."""
    filters = [one for one in kind.list_filter if hasattr(one, "answers")]
    return f"?{filters[0].parameter_name}=all" if filters else ""


@pytest.fixture
def furnished(environment: Environment, caller: Caller) -> Callable[[int], None]:
    """Rows of the nouns that lists are long of."""

    def furnish(rounds: int) -> None:
        for _ in range(rounds):
            number = Environment.objects.count()
            made = environments.create(project=environment.project, slug=f"e{number}", by=BY)
            values.set_value(environment=made, kind="secret", name="API_KEY", value=b"canary-5c1d", by=BY)
            release = accepted(made)
            became(release, ReleaseStatus.OFFERED, ReleaseStatus.APPLYING, ReleaseStatus.LIVE)
            placed(made)

    return furnish


@pytest.mark.parametrize(
    "label",
    [
        "deployments.Environment",
        "deployments.Release",
        "deployments.NamedValue",
        "deployments.Node",
        "deployments.LogEntry",
        "agents.AgentToken",
        "timeline.Event",
    ],
)
def test_a_list_asks_as_many_queries_for_many_rows_as_for_few(
    operator: Client, furnished: Callable[[int], None], label: str
) -> None:
    model = apps.get_model(label)
    kind = admin.site._registry[model]
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist") + all_rows(kind)

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as caught:
            assert operator.get(path).status_code == 200
        return len(caught)

    furnished(1)
    few = queries()
    furnished(8)
    assert queries() <= few + 1


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_no_page_shows_a_secret_or_its_ciphertext(
    operator: Client, furnished: Callable[[int], None], model: Any
) -> None:
    furnished(1)
    row = NamedValue.objects.get()
    ciphertext = bytes(row.ciphertext or b"")
    token = AgentToken.objects.get()
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    pages = [operator.get(reverse(f"{name}_changelist") + all_rows(admin.site._registry[model]))]
    pages += [operator.get(reverse(f"{name}_change", args=[each.pk])) for each in model._default_manager.all()[:3]]
    for page in pages:
        assert page.status_code == 200
        for hidden in (
            b"canary-5c1d",
            ciphertext.hex().encode(),
            repr(ciphertext).encode()[2:20],
            bytes(token.secret_sha256).hex().encode(),
        ):
            assert hidden not in page.content


def act(operator: Client, model: Any, action: str, *rows: Any, confirmed: bool = False) -> Any:
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    sent = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    query = all_rows(admin.site._registry[model])
    return operator.post(path + query, sent | ({"confirmed": "yes"} if confirmed else {}), follow=True)


def test_the_gate_is_opened_and_closed_by_an_action(operator: Client, environment: Environment) -> None:
    act(operator, Environment, "close_gate", environment)
    environment.refresh_from_db()
    assert not environment.gate_open
    act(operator, Environment, "open_gate", environment)
    environment.refresh_from_db()
    assert environment.gate_open


@pytest.mark.parametrize(("action", "state"), [("stop", "stopping"), ("retire", "retiring")])
def test_what_takes_an_app_down_asks_back_with_the_consequence(
    operator: Client, environment: Environment, action: str, state: str
) -> None:
    asked = act(operator, Environment, action, environment)
    assert b"confirmed" in asked.content
    environment.refresh_from_db()
    assert environment.state == "active"
    act(operator, Environment, action, environment, confirmed=True)
    environment.refresh_from_db()
    assert environment.state == state


def test_what_a_service_refuses_is_told_with_its_code(operator: Client, environment: Environment) -> None:
    environments.stop(environment=environment, by=BY)
    said = act(operator, Environment, "start", environment, confirmed=True)
    assert b"environment.wrong_state" in said.content


def test_a_release_is_cancelled_and_another_rolled_back_to(operator: Client, environment: Environment) -> None:
    first = became(accepted(environment), ReleaseStatus.OFFERED, ReleaseStatus.APPLYING)
    became(first, ReleaseStatus.LIVE, was_live=True)
    second = accepted(environment)
    act(operator, Release, "cancel", second, confirmed=True)
    second.refresh_from_db()
    assert second.status == ReleaseStatus.CANCELLED
    act(operator, Release, "roll_back_to", first, confirmed=True)
    assert environment.releases.get(sequence=3).rollback_of == 1


def test_a_token_is_revoked_by_an_action(operator: Client, caller: Caller) -> None:
    act(operator, AgentToken, "revoke", AgentToken.objects.get())
    assert caller.get("/environments/").status_code == 401


def test_a_secret_is_written_and_never_sent_back(operator: Client, environment: Environment) -> None:
    path = reverse("admin:deployments_environment_set_value", args=[environment.pk])
    assert operator.get(path).status_code == 200
    sent = {"kind": "secret", "name": "API_KEY", "value": "canary-77ab\r\nline"}
    done = operator.post(path, sent, follow=True)
    assert b"canary-77ab" not in done.content
    assert values.plain(environment)["API_KEY"].text == "canary-77ab\nline"
    refused = operator.post(path, sent | {"name": "not a name"})
    assert b"value.invalid" in refused.content
    assert b"canary-77ab" not in refused.content


def test_the_page_of_an_environment_begins_with_its_sentence(operator: Client, environment: Environment) -> None:
    accepted(environment)
    page = operator.get(reverse("admin:deployments_environment_change", args=[environment.pk]))
    assert page.content.index(b"Release 1 is accepted.") < page.content.index(b"last_sequence")


def test_staff_without_the_right_sees_no_actions(environment: Environment) -> None:
    client = Client()
    client.force_login(User.objects.create_user("looker", password="not-used-here", is_staff=True))
    path = reverse("admin:deployments_environment_set_value", args=[environment.pk])
    assert client.post(path, {"kind": "secret", "name": "A", "value": "abcdef"}).status_code == 403
    act(client, Environment, "close_gate", environment)
    environment.refresh_from_db()
    assert environment.gate_open


def test_the_first_list_answers_which_environments_need_a_person(
    operator: Client, environment: Environment, project: Project
) -> None:
    path = reverse("admin:deployments_environment_changelist")
    assert b"shop/production" not in operator.get(path).content
    became(accepted(environment), ReleaseStatus.FAILED)
    assert b"shop/production" in operator.get(path).content

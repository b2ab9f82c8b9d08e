"""The pages and probes: the answer before the evidence, for people who are logged in, without scripts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.staticfiles import finders
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from deployments import signing
from deployments.domain.states import ReleaseStatus
from deployments.models import Environment, Observation
from deployments.services import environments
from tests.callers import accepted, became
from tests.situations import BY

pytestmark = pytest.mark.django_db
PAGE = "/projects/shop/environments/production/"


@pytest.fixture
def person(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("op", password="not-used-here"))
    return client


def sentence(page: Any) -> str:
    found = re.search(r'<p class="standing \w+">(.*?)</p>', page.content.decode(), re.DOTALL)
    assert found
    return found[1].strip()


@pytest.mark.parametrize("path", ["/", PAGE])
def test_pages_need_a_login(environment: Environment, path: str) -> None:
    response = Client().get(path)
    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/")


def test_the_first_line_is_the_answer(person: Client, environment: Environment) -> None:
    assert sentence(person.get(PAGE)) == "shop/production has no release yet."
    first = became(accepted(environment), ReleaseStatus.OFFERED, ReleaseStatus.APPLYING)
    assert sentence(person.get(PAGE)) == "Release 1 is being applied."
    became(first, ReleaseStatus.LIVE)
    assert sentence(person.get(PAGE)).startswith("shop/production runs release 1")
    evidence = {"code": "health.failed", "summary": "web answered 502 on /up", "services": {}}
    second = became(accepted(environment), ReleaseStatus.OFFERED, ReleaseStatus.APPLYING)
    became(second, ReleaseStatus.FAILED, evidence=evidence)
    said = sentence(person.get(PAGE))
    assert said.startswith("Release 2 failed: web answered 502 on /up. Release 1 still serves. shop/production runs")


def test_the_whole_story_of_one_release_is_on_the_page_in_order(person: Client, environment: Environment) -> None:
    became(accepted(environment), ReleaseStatus.WAITING, ReleaseStatus.OFFERED, ReleaseStatus.APPLYING)
    text = person.get(f"{PAGE}?release=1").content.decode()
    places = [text.index(f"<td>release:{what}</td>") for what in ("accepted", "waiting", "offered", "applying")]
    assert places == sorted(places)
    assert "operator tests" in text


def test_what_a_node_said_is_text_and_never_markup(person: Client, environment: Environment) -> None:
    service = {
        "state": "exited",
        "health": None,
        "exit_code": 1,
        "restarts": 0,
        "expected_digest": "sha256:a",
        "observed_digest": "sha256:a",
        "log_tail": "<script>alert(1)</script>",
    }
    evidence = {"code": "x", "summary": "<b>bold</b>", "services": {"<i>web": service}}
    became(accepted(environment), ReleaseStatus.FAILED, evidence=evidence)
    text = person.get(PAGE).content.decode()
    assert "<script" not in text
    assert "<b>bold" not in text
    assert "<i>web" not in text


@pytest.mark.parametrize("query", ["?release=2", "?release=x", "?release=-1", "?release=" + "9" * 400])
def test_a_release_that_is_not_there_is_404(person: Client, environment: Environment, query: str) -> None:
    accepted(environment)
    assert person.get(PAGE + query).status_code == 404


def test_pages_are_small_and_clean_for_the_policy(person: Client, environment: Environment) -> None:
    for path in ("/", PAGE):
        page = person.get(path)
        text = page.content.decode()
        assert "default-src 'self'" in page["Content-Security-Policy"]
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=", text)
        assert len(page.content) < 100_000
    sheet = finders.find("deployments/pages.css")
    assert isinstance(sheet, str)
    assert Path(sheet).stat().st_size < 20_000


def test_the_overview_asks_as_many_queries_for_many_as_for_few(person: Client, environment: Environment) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            assert person.get("/").status_code == 200
        return len(caught)

    accepted(environment)
    few = queries()
    for number in range(8):
        accepted(environments.create(project=environment.project, slug=f"e{number}", by=BY))
    assert queries() == few


def test_healthz_answers_without_a_database(django_db_blocker: Any) -> None:
    with django_db_blocker.block():
        assert Client().get("/healthz").status_code == 200


def test_readyz_names_what_is_missing(redis_url: str, settings: Any, tmp_path: Path) -> None:
    settings.STATE_DIR = tmp_path
    settings.REDIS_URL = redis_url
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert "keyset init" in response.json()["checks"]["keys"]
    signing.init()
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["ready"]) == (200, True), response.json()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["broker"].startswith("Redis does not answer")


def test_metrics_count_states_and_ages_and_name_nobody(environment: Environment) -> None:
    accepted(environment)
    text = Client().get("/metrics").content.decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    counted = {sample.labels["status"]: sample.value for sample in families["sam_releases"].samples}
    assert counted["accepted"] == 1
    assert counted["failed"] == 0
    assert families["sam_release_pending_oldest_age_seconds"].samples[0].value > 0
    assert "shop" not in text


@pytest.mark.parametrize(
    ("state", "summary", "said", "tone"),
    [
        ("ok", "", "shop/production runs release 1, healthy.", "quiet"),
        ("failed", "web: exited with 1", "shop/production runs release 1. web: exited with 1.", "act"),
        ("warning", "web: starting", "shop/production runs release 1. web: starting.", "look"),
    ],
)
def test_what_the_node_observed_is_in_the_sentence(
    person: Client, environment: Environment, state: str, summary: str, said: str, tone: str
) -> None:
    became(accepted(environment), ReleaseStatus.OFFERED, ReleaseStatus.APPLYING, ReleaseStatus.LIVE)
    app = {"state": state, "code": "", "summary": summary}
    Observation.objects.create(environment=environment, dimensions={"app": app}, reported_at=timezone.now())
    page = person.get(PAGE)
    assert sentence(page) == said
    assert f'<p class="standing {tone}">' in page.content.decode()

"""The path of the product, from a push to a live page, and what happens beside it."""

from __future__ import annotations

import concurrent.futures

import pytest
import requests

from tests.acceptance import apps
from tests.acceptance.installation import Installation, Tenant, until

pytestmark = pytest.mark.acceptance


def test_a_pushed_image_becomes_a_live_page(tenant: Tenant) -> None:
    image = tenant.push("web", "v1", apps.page("one"))
    sequence = tenant.live(apps.compose(image))
    assert sequence == 1
    assert tenant.page() == "one\n"
    state = tenant.state()
    assert state["live_sequence"] == 1 and state["pending_sequence"] is None
    assert state["observed"]["provider"]["state"] == "ok"


def test_an_update_replaces_the_page_and_supersedes_the_old_release(tenant: Tenant) -> None:
    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    url = tenant.app_url()
    tenant.live(apps.compose(tenant.push("web", "v2", apps.page("two"))))
    assert tenant.page() == "two\n"
    assert tenant.app_url() == url
    assert tenant.read(f"{tenant.path}/releases/1/")["status"] == "superseded"


def test_an_unhealthy_update_fails_with_the_service_named_and_the_old_page_stays(tenant: Tenant) -> None:
    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    before = {container.id for container in tenant.containers()}
    release = tenant.settled(tenant.release(apps.compose(tenant.push("web", "v2", apps.page("two", up=False)))))
    assert release["status"] == "failed"
    assert release["evidence"]["services"]["web"]["health"] == "unhealthy"
    assert release["serving_sequence"] == 1
    assert tenant.page() == "one\n"
    assert tenant.state()["live_sequence"] == 1
    assert {container.id for container in tenant.containers()} == before


def test_a_first_release_that_fails_leaves_nothing_running_and_says_why(tenant: Tenant) -> None:
    release = tenant.settled(tenant.release(apps.compose(tenant.push("web", "v1", apps.page("one", up=False)))))
    assert release["status"] == "failed" and release["serving_sequence"] == 0
    assert set(release["evidence"]["services"]) == {"web"}
    assert tenant.containers() == []


def test_an_image_that_the_registry_does_not_have_is_refused_at_its_place(tenant: Tenant) -> None:
    host = tenant.installation.registry
    answer = tenant.submit(apps.compose(f"{host}/{tenant.project}/nothing:v1"))
    assert answer.status_code == 422
    problem = answer.json()["problems"][0]
    assert (problem["code"], problem["pointer"], problem["line"]) == ("image.not_found", "/services/web/image", 3)
    assert tenant.read(f"{tenant.path}/releases/")["results"] == []


def test_an_image_of_another_project_is_refused_with_the_same_words_whether_it_exists_or_not(
    installation: Installation, tenant: Tenant
) -> None:
    neighbour = installation.tenant()
    existing = neighbour.push("web", "v1", apps.page("private"))
    missing = existing.replace("web:v1", "nothing:v1")
    answers = [tenant.submit(apps.compose(image)).json()["problems"] for image in (existing, missing)]
    said = [
        [(p["code"], p["message"].replace(image, "IMAGE"), p["hint"].replace(image, "IMAGE")) for p in problems]
        for problems, image in zip(answers, (existing, missing), strict=True)
    ]
    assert said[0] == said[1]


def test_rolling_back_is_a_new_release_from_the_manifest_that_was_live_before(tenant: Tenant) -> None:
    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    tenant.live(apps.compose(tenant.push("web", "v2", apps.page("two"))))
    answer = tenant.call("POST", f"{tenant.path}/rollback/", json={})
    assert answer.status_code == 201, answer.text
    assert tenant.settled(answer.json()["sequence"])["status"] == "live"
    assert answer.json()["sequence"] == 3 and answer.json()["rollback_of"] == 1
    assert tenant.page() == "one\n"


def test_the_quota_ends_at_ten_for_sixty_at_once(tenant: Tenant) -> None:
    with concurrent.futures.ThreadPoolExecutor(60) as pool:
        answers = list(pool.map(lambda _: tenant.call("POST", f"{tenant.path}/registry-credentials/"), range(60)))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201] * 10 + [429] * 50
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status_code == 429)


def test_a_closed_gate_consumes_no_quota(installation: Installation, tenant: Tenant) -> None:
    path = f"{tenant.project}/{tenant.environment}"
    installation.operate("environment", "gate", path, "closed")
    for _ in range(12):
        answer = tenant.call("POST", f"{tenant.path}/registry-credentials/")
        assert (answer.status_code, answer.json()["code"]) == (403, "gate.closed")
    installation.operate("environment", "gate", path, "open")
    assert tenant.call("POST", f"{tenant.path}/registry-credentials/").status_code == 201


def test_a_foreign_token_finds_nothing_anywhere(installation: Installation, tenant: Tenant) -> None:
    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    stranger = installation.tenant()
    # Both call their environment "live": what is asked for here exists for the owner alone.
    installation.operate("environment", "create", f"{tenant.project}/own", "--gate", "open")
    for method, path in [
        ("GET", "/environments/own/"),
        ("POST", "/environments/own/registry-credentials/"),
        ("POST", "/environments/own/releases/"),
        ("GET", "/environments/own/releases/"),
        ("GET", "/environments/live/releases/1/"),
        ("GET", "/environments/live/releases/1/manifest/"),
        ("GET", "/environments/live/releases/1/compose/"),
        ("GET", "/environments/live/releases/1/events/"),
        ("POST", "/environments/live/releases/1/cancel/"),
        ("POST", "/environments/own/rollback/"),
        ("GET", "/environments/own/logs/"),
        ("GET", "/environments/own/volumes/"),
    ]:
        answer = stranger.call(
            method, f"/api/v1{path}", headers={"Content-Type": "application/yaml"}, data=b"services: {}"
        )
        assert answer.status_code == 404, (method, path, answer.text)


def test_a_plan_is_stale_once_what_it_was_made_from_has_moved(tenant: Tenant) -> None:
    image = tenant.push("web", "v1", apps.page("one"))
    plan = tenant.submit(apps.compose(image), dry_run="true").json()
    assert tenant.read(f"{tenant.path}/releases/")["results"] == []
    tenant.live(apps.compose(image))
    answer = tenant.submit(apps.compose(image), plan_hash=plan["plan_hash"])
    assert (answer.status_code, answer.json()["code"]) == (409, "plan.stale")


def test_twenty_first_releases_at_once_make_one_placement(tenant: Tenant) -> None:
    image = tenant.push("web", "v1", apps.page("one"))
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: tenant.submit(apps.compose(image)), range(20)))
    assert [answer.status_code for answer in answers] == [201] * 20
    assert sorted(answer.json()["sequence"] for answer in answers) == list(range(1, 21))
    assert tenant.settled(20)["status"] == "live"
    assert tenant.state()["placement"]["generation"] == 1
    statuses = {
        release["sequence"]: release["status"]
        for release in tenant.read(f"{tenant.path}/releases/?limit=100")["results"]
    }
    assert set(statuses.values()) <= {"live", "cancelled", "superseded"}


def test_stop_takes_the_app_down_and_start_brings_it_back(installation: Installation, tenant: Tenant) -> None:
    path = f"{tenant.project}/{tenant.environment}"
    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    installation.operate("environment", "stop", path)
    until(lambda: tenant.state()["state"] == "stopped", what="stopped")
    assert tenant.containers() == []
    installation.operate("environment", "start", path)
    until(lambda: tenant.state()["state"] == "active", seconds=60, what="active")
    assert tenant.page() == "one\n"


def test_a_cancelled_release_is_reverted_by_the_node(tenant: Tenant) -> None:
    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    slow = apps.compose(tenant.push("web", "v2", apps.page("two", up=False))).replace("retries: 3", "retries: 60")
    sequence = tenant.release(slow)
    until(lambda: tenant.read(f"{tenant.path}/releases/{sequence}/")["status"] == "applying", what="applying")
    assert tenant.call("POST", f"{tenant.path}/releases/{sequence}/cancel/").status_code == 200
    assert tenant.settled(sequence, seconds=30)["status"] == "cancelled"
    assert tenant.page() == "one\n"


def test_logs_come_from_the_running_containers_with_secrets_redacted(tenant: Tenant) -> None:
    tenant.set("secret", "CANARY", "canary-4711-secret")
    image = tenant.push("web", "v1", apps.page("one"))
    tenant.live(
        apps.compose(
            image,
            environment={"CANARY": "${CANARY}"},
            more='command: ["/bin/sh", "-c", "echo told $$CANARY; exec /bin/httpd -f -p 8080 -h /www"]\n',
        )
    )
    until(lambda: tenant.read(f"{tenant.path}/logs/?service=web")["lines"], what="log lines")
    texts = [line["text"] for line in tenant.read(f"{tenant.path}/logs/?service=web")["lines"]]
    assert "told [redacted]" in texts


@pytest.mark.parametrize("process", ["agent", "worker", "web"])
def test_a_killed_process_costs_time_and_no_release(installation: Installation, tenant: Tenant, process: str) -> None:
    import os
    import signal

    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    image = tenant.push("web", "v2", apps.page("two"))
    sequence = tenant.release(apps.compose(image))
    old = installation.pid(process)
    os.kill(old, signal.SIGKILL)
    until(lambda: installation.pid(process) not in (0, old), seconds=8, what=f"a new {process} in up.json")

    def settled() -> bool:
        try:
            return bool(tenant.settled(sequence, seconds=90)["status"] == "live")
        except requests.RequestException:
            return False

    until(settled, seconds=90, what="the release to be live")
    assert tenant.page() == "two\n"


def test_a_flushed_redis_costs_no_release(installation: Installation, tenant: Tenant) -> None:
    import redis

    tenant.live(apps.compose(tenant.push("web", "v1", apps.page("one"))))
    image = tenant.push("web", "v2", apps.page("two"))
    sequence = tenant.release(apps.compose(image))
    redis.Redis.from_url(installation.facts["redis_url"]).flushall()
    assert tenant.settled(sequence, seconds=75)["status"] == "live"

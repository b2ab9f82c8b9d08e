"""What the renderer emits is what the node's own policy allows: the two are written apart and must meet."""

from __future__ import annotations

import json

import pytest

from deployments.domain import compose, manifest, references, renderer, routes
from nodeagent import composefile, inbox, policy
from nodeagent.wire.decode import load, read
from nodeagent.wire.orders import ROUTES
from tests import signed
from tests.signed import ENVIRONMENT, HOST, IMAGE, NOW, Offer

EVERYTHING = f"""
services:
  web:
    image: {IMAGE}
    entrypoint: ["/bin/serve", "--price", "5$$"]
    command: []
    environment:
      PLAIN: "tab\\there, quote \\", emoji \U0001f600, \\u2028"
      DOLLAR: "cost: 5$$ {{}}"
      TOKEN: ${{TOKEN}}
      MIXED: "x://u:${{TOKEN:-none}}@h/$${{HOME}}"
    volumes: ["store:/var/store", {{type: volume, source: cache, target: /cache, read_only: true}}]
    ports: ["8080"]
    expose: ["9090"]
    depends_on:
      db: {{condition: service_healthy, required: false}}
      seed: {{condition: service_completed_successfully}}
    healthcheck: {{x-sam-http: {{path: /ready, port: 8080, status: 200}}, interval: 2s, retries: 5}}
    deploy: {{resources: {{limits: {{cpus: "1.5", memory: 64M, pids: 100}}}}}}
    user: "1000:1000"
    working_dir: /srv
    read_only: true
    init: true
    tmpfs: [/tmp, /run/x]
    stop_grace_period: 1m30s
    stop_signal: SIGINT
    shm_size: 1M
    cap_drop: [ALL]
    cap_add: [NET_BIND_SERVICE]
  db:
    image: {IMAGE}
    healthcheck: {{test: "exit 0", start_period: 5s, start_interval: 1s, timeout: 3s}}
    cap_drop: [chown, CAP_KILL]
  seed:
    image: {IMAGE}
    restart: "no"
    healthcheck: {{test: NONE}}
volumes: {{store: , cache: {{x-sam-size-gb: 2}}}}
x-sam-routes: [{{service: web, port: 8080, mode: public, host: a.example, path: /api, health_path: /ready}}]
x-sam-pre-flight: {{service: web, command: ["migrate", "$$X"], timeout_seconds: 60}}
"""
PLACE = policy.Place(ENVIRONMENT, 7, frozenset({HOST}))


def parsed(text: str) -> manifest.Manifest:
    found = compose.parse(text.encode())
    assert found.manifest is not None, found.problems
    return found.manifest


@pytest.mark.parametrize("changed_in", [None, {"web": 3, "db": 7, "seed": 1}])
def test_a_file_with_every_key_that_is_rendered_passes(changed_in: dict[str, int] | None) -> None:
    raw = renderer.render(parsed(EVERYTHING), environment_id=ENVIRONMENT, sequence=7, changed_in=changed_in)
    assert policy.judge(raw, PLACE) == []


def test_the_smallest_file_passes() -> None:
    small = parsed(f"services: {{web: {{image: '{IMAGE}', ports: ['80']}}}}")
    raw = renderer.render(small, environment_id=ENVIRONMENT, sequence=1)
    assert policy.judge(raw, policy.Place(ENVIRONMENT, 1, frozenset({HOST}))) == []


def test_every_key_of_the_policys_table_is_one_that_the_renderer_emits() -> None:
    document = composefile.load(renderer.render(parsed(EVERYTHING), environment_id=ENVIRONMENT, sequence=7))
    assert isinstance(document, dict)
    services = document["services"].values()
    assert policy.DOCUMENT.rules.keys() == document.keys()
    assert policy.SERVICE.rules.keys() == {key for service in services for key in service}
    assert policy.SERVICE.required <= set.intersection(*(set(service) for service in services))


def test_the_reader_sees_exactly_the_values_that_were_written() -> None:
    document = composefile.load(renderer.render(parsed(EVERYTHING), environment_id=ENVIRONMENT, sequence=7))
    assert isinstance(document, dict)
    environment = document["services"]["web"]["environment"]
    assert environment["PLAIN"] == 'tab\there, quote ", emoji \U0001f600, \u2028'
    assert environment["DOLLAR"] == "cost: 5$$ {}"
    assert environment["TOKEN"].startswith("${SAM_SECRET_")


def test_a_rendered_release_is_accepted_with_its_routes() -> None:
    content = parsed(EVERYTHING)
    listed = routes.routes_json(content)
    assert [route.host for route in read(ROUTES, load(listed))][:1] == ["a.example"]
    values = tuple("v" for _ in references.expressions(content))
    raw = renderer.render(content, environment_id=ENVIRONMENT, sequence=7)
    payload = Offer(seq=7, compose=raw, routes=listed, values=values).payload()
    assert inbox.accept(payload, signed.knowledge(), now=NOW).code is None
    assert json.loads(listed)

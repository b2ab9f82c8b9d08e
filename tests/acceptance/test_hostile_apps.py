"""Apps and files that try to get more than they were given."""

from __future__ import annotations

import json

import pytest

from tests.acceptance import apps
from tests.acceptance.installation import Tenant, until

pytestmark = pytest.mark.acceptance


def test_a_semicolon_in_a_routes_path_is_a_character_and_no_command(tenant: Tenant) -> None:
    image = tenant.push("web", "v1", apps.page("one"))
    route = 'x-sam-routes: [{service: web, port: 8080, mode: public, path: "/a;shutdown frontend sites;b"}]\n'
    refused = tenant.submit(apps.compose(image, top=route))
    assert refused.status_code == 422, "white space is no part of a path"
    tenant.live(apps.compose(image, top=route.replace(" frontend sites", "")))
    tenant.live(
        apps.compose(
            tenant.push("web", "v2", apps.page("two")),
            top='x-sam-routes: [{service: web, port: 8080, mode: public, path: "/"}]\n',
        )
    )
    assert tenant.page() == "two\n"


def test_a_secret_across_the_place_where_docker_cuts_lines_is_redacted(tenant: Tenant) -> None:
    secret = "CaNaRy-9ec2322f6faf-xyz"
    tenant.set("secret", "CANARY", secret)
    image = tenant.push("web", "v1", apps.page("one"))
    script = "printf '%016370d' 0; echo $$CANARY; echo done; exec /bin/busybox httpd -f -p 8080 -h /www"
    tenant.live(
        apps.compose(
            image, environment={"CANARY": "${CANARY}"}, more=f'command: ["/bin/sh", "-c", {json.dumps(script)}]\n'
        )
    )
    until(lambda: tenant.read(f"{tenant.path}/logs/")["lines"], what="log lines")
    for limit in (1, 2, 3, 100):
        said = json.dumps(tenant.read(f"{tenant.path}/logs/?limit={limit}"))
        assert not any(secret[start : start + 6] in said for start in range(len(secret) - 6)), limit

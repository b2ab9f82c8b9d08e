"""Situations that tests of the control plane begin with: an environment on a node, a release that is offered, races."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from django.db import close_old_connections, transaction

from deployments.domain import manifest
from deployments.domain.manifest import Manifest
from deployments.models import Environment, Node, Payload, Release
from deployments.services import nodes, releases

IMAGE = "127.0.0.1:5000/shop/web@sha256:" + "a" * 64
DIGEST = IMAGE.partition("@")[2]
OTHER_IMAGE = "127.0.0.1:5000/shop/web@sha256:" + "b" * 64
BY = {"operator": "tests"}


def placed(environment: Environment) -> Node:
    row = Node.objects.create(account="local", state="booting", server_id="server-1")
    Environment.objects.filter(pk=environment.pk).update(node=row, generation=1)
    environment.refresh_from_db()
    return row


def token_for(row: Node) -> str:
    with transaction.atomic():
        return str(nodes.enrolment(row)["token"])


def offered(environment: Environment, wanted: Manifest) -> Release:
    with transaction.atomic():
        row = Environment.objects.select_for_update(of=("self",)).select_related("project").get(pk=environment.pk)
        release = releases.accept(environment=row, manifest_bytes=manifest.canonical(wanted), by=BY, plan={})
    releases.advance(Environment.objects.select_related("project", "node").get(pk=environment.pk))
    release.refresh_from_db()
    assert release.status == "offered", (release.status, release.waiting, release.evidence)
    return release


def with_image(content: Manifest, image: str) -> Manifest:
    return replace(content, services={name: replace(each, image=image) for name, each in content.services.items()})


def at_once(calls: list[Callable[[], Any]]) -> list[Any]:
    """What each call answers or raises, all running at the same time on connections of their own."""

    def alone(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as fault:  # noqa: BLE001 - the outcome under test
            return fault
        finally:
            close_old_connections()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(alone, calls))


def newest_payload(environment: Environment) -> Payload:
    return Payload.objects.filter(environment=environment).order_by("-pk")[0]


def body_of(raw: Any) -> dict[str, Any]:
    return dict(json.loads(bytes(raw)))

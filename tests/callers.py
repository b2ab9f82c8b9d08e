"""Callers of the agents' API and what they find: tokens that speak, releases in a state, refusals in their shape."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.test import Client

from deployments.domain.manifest import Manifest, Service, canonical
from deployments.domain.states import ReleaseStatus
from deployments.models import Environment, Release
from deployments.services import releases
from registry.errors import ImageNotFound, RegistryError
from registry.ports import Wanted
from timeline.transitions import transition

from .situations import BY, IMAGE

HOST = "127.0.0.1:5000"
DIGEST = "sha256:" + "a" * 64
COMPOSE = f"x-sam-worker: true\nservices:\n  web:\n    image: {HOST}/shop/web:1\n"


@dataclass
class Caller:
    """Speaks to the API as one token."""

    text: str
    id: str = ""

    def __call__(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.text}", **more.pop("headers", {})}
        return Client(raise_request_exception=False).generic(method, f"/api/v1{path}", headers=headers, **more)

    def get(self, path: str, **more: Any) -> Any:
        return self("GET", path, **more)

    def post(self, path: str, body: object = None, **more: Any) -> Any:
        data = "" if body is None else json.dumps(body)
        return self("POST", path, data=data, content_type="application/json", **more)

    def submit(self, slug: str, document: str = COMPOSE, query: str = "", **more: Any) -> Any:
        path = f"/environments/{slug}/releases/{query}"
        return self("POST", path, **{"data": document, "content_type": "application/yaml", **more})


class Registry:
    """The images that a registry has, as the resolver of the control plane sees them; all others are not there."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {f"{HOST}/shop/web:1": DIGEST, f"{HOST}/shop/web@{DIGEST}": DIGEST}

    def resolve(self, host: str, path: str, tag: str | None, digest: str | None) -> str:
        wanted = Wanted(host, path, tag, digest)
        found = self.digests.get(str(wanted))
        if found is None:
            raise ImageNotFound(str(wanted))
        return found

    def resolve_many(self, wanted: Any) -> Mapping[Wanted, str | RegistryError]:
        answers: dict[Wanted, str | RegistryError] = {}
        for one in wanted:
            try:
                answers[one] = self.resolve(one.host, one.path, one.tag, one.digest)
            except RegistryError as refusal:
                answers[one] = refusal
        return answers


def manifest_of(image: str = IMAGE) -> Manifest:
    return Manifest(services={"web": Service(image=image)}, worker=True)


def accepted(environment: Environment, *, by: Mapping[str, str] = BY) -> Release:
    """A release as the service stores it, without asking a registry."""
    with transaction.atomic():
        row = Environment.objects.select_for_update(of=("self",)).select_related("project").get(pk=environment.pk)
        return releases.accept(environment=row, manifest_bytes=canonical(manifest_of()), by=by, plan={})


def became(release: Release, *statuses: ReleaseStatus, **changes: Any) -> Release:
    """Move a release along edges of the table, as node and worker would."""
    for status in statuses:
        with transaction.atomic():
            assert transition(release, to=status, **changes)
    return release


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, (response.status_code, response.content[:500])
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = json.loads(response.content)
    assert body["code"] == code, body
    assert body["status"] == status
    assert body["type"].endswith(f"#{code}")
    assert body["title"]
    assert body["detail"]
    assert isinstance(body["retryable"], bool)
    return body

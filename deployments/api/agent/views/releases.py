"""Releases: submitted, read, waited for, cancelled and rolled back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from agents.principals import Principal, Scope
from timeline import events

from ....domain.states import RELEASE_SETTLED
from ....models import Release
from ....selectors import releases as selected
from ....selectors import visibility
from ....services import releases
from .. import bodies, shapes
from .. import documentation as docs
from ..cursors import Page
from ..holding import Held, Pending
from ..idempotency import Stored, idempotent
from .base import AgentView, YamlRenderer

MAX_WAIT_SECONDS = 60
_PLAN_HASH_MAX_LENGTH = 128


def _made_by(view: AgentView) -> Principal:
    """The principal, with the claim of its Idempotency-Key, which the release then carries."""
    return replace(view.principal, idempotent_call=view.claim_id)


def _found_again(view: AgentView, claim_id: int) -> Any | None:
    """The release that a call stored under this claim before it died, as the answer that it could not give any more."""
    mine = Release.objects.filter(environment__in=visibility.environments(view.principal))
    release = mine.filter(submitted_by__call=str(claim_id)).first()
    return selected.represent(release) if release else None


class ReleaseList(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ, "POST": Scope.RELEASES_WRITE}

    @extend_schema(
        operation_id="list_releases", parameters=docs.PAGE, responses=docs.answers({200: shapes.ReleaseList}, 400, 404)
    )
    def get(self, request: Request, slug: str) -> Response:
        """The releases of an environment, newest first."""
        environment = self.environment(slug)
        asked = self.parameters()
        page = Page(asked, environment.releases.defer("manifest"), "sequence")
        asked.check()
        return Response(page.answer(selected.represent))

    @extend_schema(
        operation_id="submit_release",
        parameters=[docs.IDEMPOTENCY_KEY, docs.DRY_RUN, docs.PLAN_HASH],
        request=docs.DOCUMENT,
        responses=docs.answers({201: shapes.Release, 200: shapes.Plan}, 400, 404, 409, 413, 415, 422, 503),
    )
    @idempotent(recover=_found_again)
    def post(self, request: Request, slug: str) -> Response:
        """Submit a Compose file or a manifest as the next release. `dry_run=true` answers the plan and stores
        nothing."""
        environment = self.environment(slug)
        asked = self.parameters()
        dry_run = asked.flag("dry_run")
        plan_hash = asked.plan_hash("plan_hash", max_length=_PLAN_HASH_MAX_LENGTH)
        if dry_run and plan_hash is not None:
            asked.refuse(
                "plan_hash", "a dry run makes a plan and follows none", "Leave out one of plan_hash and dry_run."
            )
        asked.check()
        document, media_type = bodies.document(request)
        done = releases.submit(
            environment=environment,
            principal=_made_by(self),
            document=document,
            media_type=media_type,
            dry_run=dry_run,
            plan_hash=plan_hash,
        )
        if not isinstance(done, Release):
            return Response(done.as_json())
        return Stored(selected.represent(done), status=201)


class ReleaseDetail(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(
        operation_id="get_release", parameters=[docs.WAIT], responses=docs.answers({200: shapes.Release}, 400, 404)
    )
    def get(self, request: Request, slug: str, sequence: str) -> Response:
        """One release. With `wait`, held until its status is settled or differs from what it was when the request
        came."""
        release = self.release(slug, sequence)
        asked = self.parameters()
        seconds = asked.whole("wait", default=0, least=0, most=MAX_WAIT_SECONDS)
        asked.check()
        response = Held(selected.represent(release))
        if seconds and release.status not in RELEASE_SETTLED:
            response.pending = self._pending(release, seconds)
        return response

    def _pending(self, release: Release, seconds: int) -> Pending:
        was = release.status

        def now() -> dict[str, Any]:
            return selected.represent(Release.objects.get(pk=release.pk))

        def changed() -> dict[str, Any] | None:
            moved = Release.objects.filter(pk=release.pk).exclude(status=was).exists()
            return now() if moved else None

        return Pending(topic=f"release:{release.pk}", seconds=seconds, look=changed, give_up=now)


class ReleaseManifest(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(operation_id="get_manifest", responses=docs.answers({200: docs.ANY_OBJECT}, 400, 404))
    def get(self, request: Request, slug: str, sequence: str) -> HttpResponse:
        """The canonical bytes of the manifest: their SHA-256 is `manifest_digest`."""
        release = self.release(slug, sequence)
        self.no_parameters()
        return HttpResponse(bytes(release.manifest), content_type="application/json")


class ReleaseCompose(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}
    renderer_classes = [YamlRenderer, JSONRenderer]

    @extend_schema(operation_id="get_compose", responses=docs.answers({(200, "application/yaml"): docs.TEXT}, 400, 404))
    def get(self, request: Request, slug: str, sequence: str) -> HttpResponse:
        """The Compose file that the node gets: variables and secrets are references in it, never values."""
        release = self.release(slug, sequence)
        self.no_parameters()
        return HttpResponse(selected.compose(release), content_type="application/yaml")


class ReleaseEvents(AgentView):
    scopes = {"GET": Scope.ENVIRONMENTS_READ}

    @extend_schema(
        operation_id="list_release_events",
        parameters=[
            *docs.PAGE,
            OpenApiParameter(
                "order", str, enum=["newest", "oldest"], description="Which come first; newest unless said."
            ),
        ],
        responses=docs.answers({200: shapes.EventList}, 400, 404),
    )
    def get(self, request: Request, slug: str, sequence: str) -> Response:
        """The story of one release: what happened to it, when, and by whom."""
        release = self.release(slug, sequence)
        asked = self.parameters()
        order = asked.choice("order", ("newest", "oldest"), default="newest")
        page = Page(asked, events.of_subject("release", release.pk), "id", oldest_first=order == "oldest")
        asked.check()
        return Response(page.answer(_event))


def _event(row: Any) -> dict[str, Any]:
    return {"id": row.pk, "at": row.at, "kind": row.kind, "severity": row.severity, "by": row.by, "data": row.data}


class ReleaseCancel(AgentView):
    scopes = {"POST": Scope.RELEASES_WRITE}

    @extend_schema(
        operation_id="cancel_release",
        parameters=[docs.IDEMPOTENCY_KEY],
        request=None,
        responses=docs.answers({200: shapes.Release}, 400, 403, 404, 409, 413, 415, 422),
    )
    @idempotent()
    def post(self, request: Request, slug: str, sequence: str) -> Response:
        """Cancel a release that is not live yet; its node reverts what it began, and the release then ends as
        cancelled."""
        release = self.release(slug, sequence)
        self.no_parameters()
        bodies.read(request, bodies.Nothing)
        releases.cancel(release=release, by=self.principal.as_by(), principal=self.principal)
        return Stored(selected.represent(Release.objects.get(pk=release.pk)), status=200)


class Rollback(AgentView):
    scopes = {"POST": Scope.RELEASES_WRITE}

    @extend_schema(
        operation_id="rollback_release",
        parameters=[docs.IDEMPOTENCY_KEY],
        request=bodies.RollbackBody,
        responses=docs.answers({201: shapes.Release}, 400, 404, 409, 413, 415, 422, 503),
    )
    @idempotent(recover=_found_again)
    def post(self, request: Request, slug: str) -> Response:
        """A new release from the manifest of an old one, with the variables and secrets of now."""
        environment = self.environment(slug)
        self.no_parameters()
        body = bodies.read(request, bodies.RollbackBody)
        release = releases.roll_back(environment=environment, principal=_made_by(self), to_sequence=body.to_sequence)
        return Stored(selected.represent(release), status=201)

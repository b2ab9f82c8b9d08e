"""The paths of `/api/v1/`."""

from __future__ import annotations

from django.urls import path, re_path

from .holding import held
from .views import environments, later, logs, public, releases, volumes

_ENVIRONMENT = "environments/<str:slug>/"
_RELEASE = _ENVIRONMENT + "releases/<str:sequence>/"

urlpatterns = [
    path("environments/", environments.EnvironmentList.as_view()),
    path(_ENVIRONMENT, environments.EnvironmentDetail.as_view()),
    path(_ENVIRONMENT + "registry-credentials/", environments.RegistryCredentials.as_view()),
    path(_ENVIRONMENT + "releases/", releases.ReleaseList.as_view()),
    path(_RELEASE, held(releases.ReleaseDetail)),
    path(_RELEASE + "manifest/", releases.ReleaseManifest.as_view()),
    path(_RELEASE + "compose/", releases.ReleaseCompose.as_view()),
    path(_RELEASE + "events/", releases.ReleaseEvents.as_view()),
    path(_RELEASE + "cancel/", releases.ReleaseCancel.as_view()),
    path(_ENVIRONMENT + "rollback/", releases.Rollback.as_view()),
    path(_ENVIRONMENT + "logs/", held(logs.Logs)),
    path(_ENVIRONMENT + "volumes/", volumes.VolumeList.as_view()),
    path("sessions/", later.Sessions.as_view()),
    path("sessions/<str:session_id>/", later.SessionDetail.as_view()),
    path("sessions/<str:session_id>/messages/", later.SessionMessages.as_view()),
    path("profiles/", later.Profiles.as_view()),
    path("profiles/<str:name>/launch/", later.ProfileLaunch.as_view()),
    path("problems/", public.Problems.as_view()),
    path("schema/", public.Schema.as_view(), name="api-schema"),
    path("docs/", public.Docs.as_view(), name="api-docs"),
    # Last: whatever else is asked for below this prefix is refused as problem+json too, by any method.
    re_path(r"", public.nothing_here),
]

"""Routes that nodes call: apart from every session and agent middleware, without a slash at their ends."""

from __future__ import annotations

from django.urls import path, re_path

from . import boot, views

_RELEASE = "environments/<uuid:environment_id>/releases/<int:sequence>"

urlpatterns = [
    path("enrol", views.enrol),
    path("heartbeat", views.heartbeat),
    path("keyset/<int:version>", views.keyset),
    path(_RELEASE, views.fetch),
    path(f"{_RELEASE}/events", views.events),
    path("environments/<uuid:environment_id>/logs", views.logs),
    path("boot", boot.report),
    re_path(r"^agent/(?P<sha256>[0-9a-f]{64})\.tar\.gz$", boot.agent),
]

"""Where each path leads: node routes and agent routes apart from the pages for people."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/node/v1/", include("deployments.api.node.urls")),
    path("api/v1/", include("deployments.api.agent.urls")),
    path("registry/", include("registry.urls")),
    path("", include("deployments.pages.urls")),
]

handler400 = "deployments.api.errors.bad_request"
handler404 = "deployments.api.errors.not_found"
handler500 = "deployments.api.errors.server_error"

"""The paths of the pages and of the probes."""

from __future__ import annotations

from django.urls import path

from . import probes, views

urlpatterns = [
    path("", views.overview, name="overview"),
    path("projects/<str:project>/environments/<str:slug>/", views.environment, name="environment"),
    path("healthz", probes.healthz),
    path("readyz", probes.readyz),
    path("metrics", probes.metrics_page),
]

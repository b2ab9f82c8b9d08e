"""The token service, mounted by the project at `/registry/`."""

from __future__ import annotations

from django.urls import path

from . import views

app_name = "registry"
urlpatterns = [path("token", views.token, name="token")]

"""The admin of the deployment plane: lists that answer questions, read-only rows, and actions that call the
services."""

from __future__ import annotations

from django.contrib import admin

from . import environments, history, nodes, releases

admin.site.site_header = "SAM"
admin.site.site_title = "SAM"
admin.site.index_title = "What there is"

__all__ = ["environments", "history", "nodes", "releases"]

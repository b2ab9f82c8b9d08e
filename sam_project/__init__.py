"""The project: settings, routes, and the Celery application that `shared_task` binds to wherever Django runs."""

from __future__ import annotations

from .celery import app as celery_app

__all__ = ["celery_app"]

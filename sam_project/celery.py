"""The Celery application: tasks are nudges, every beat entry a sweep that finds what a lost nudge left behind."""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sam_project.settings")

app = Celery("sam_project")
app.config_from_object("sam_project.settings:CELERY")
app.autodiscover_tasks(["deployments"])
app.conf.beat_schedule = {
    "advance": {"task": "deployments.tasks.sweep_unfinished", "schedule": 5.0},
    "silence": {"task": "deployments.tasks.sweep_silent_nodes", "schedule": 15.0},
    "settle": {"task": "deployments.tasks.sweep_deadlines", "schedule": 10.0},
    "survey": {"task": "deployments.tasks.sweep_accounts", "schedule": 5.0},
    "workspaces": {"task": "deployments.tasks.sweep_workspaces", "schedule": 15.0},
    "forget": {"task": "deployments.tasks.sweep_expired", "schedule": 300.0},
}

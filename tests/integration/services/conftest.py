"""A project with an environment, as every service test needs one."""

from __future__ import annotations

import pytest

from agents import projects
from agents.models import Project
from deployments.models import Environment
from deployments.services import environments

BY = {"operator": "tests"}


@pytest.fixture
def project(db: None) -> Project:
    return projects.create(slug="shop", by=BY)


@pytest.fixture
def environment(project: Project) -> Environment:
    return environments.create(project=project, slug="production", gate_open=True, by=BY)

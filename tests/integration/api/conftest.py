"""Two projects with environments, tokens for them, and a client that speaks as a token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agents import projects, tokens
from agents.models import Project
from deployments.models import Environment
from deployments.services import admission, environments
from tests.callers import Caller, Registry
from tests.situations import BY


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    registry = Registry()
    monkeypatch.setattr(admission.backends, "resolver", lambda **_: registry)
    return registry


@pytest.fixture
def project(db: None) -> Project:
    return projects.create(slug="shop", by=BY)


@pytest.fixture
def environment(project: Project) -> Environment:
    return environments.create(project=project, slug="production", gate_open=True, by=BY)


@pytest.fixture
def staging(project: Project) -> Environment:
    return environments.create(project=project, slug="staging", gate_open=True, by=BY)


@pytest.fixture
def token(project: Project) -> Callable[..., Caller]:
    def make(**more: Any) -> Caller:
        row, text = tokens.create(**{"project": project, "name": "tests", **more})
        return Caller(text, row.pk)

    return make


@pytest.fixture
def caller(token: Callable[..., Caller], environment: Environment) -> Caller:
    """A token of the project with every scope."""
    return token()


@pytest.fixture
def foreigner(db: None) -> Caller:
    """A token of another project, which has an environment of the same name."""
    other = projects.create(slug="other", by=BY)
    environments.create(project=other, slug="elsewhere", gate_open=True, by=BY)
    row, text = tokens.create(project=other, name="foreigner")
    return Caller(text, row.pk)

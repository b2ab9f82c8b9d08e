"""The catalogue of problems knows every code that the code can refuse with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import deployments.api.agent.urls
import deployments.api.node.urls
import deployments.signing  # noqa: F401 - the modules that define errors are all loaded by these
from agents.errors import AgentsError
from deployments import catalogue
from deployments.errors import DeploymentError
from providers.errors import ProviderError
from registry.errors import RegistryError


def below(base: type) -> Iterator[type]:
    for kind in base.__subclasses__():
        yield kind
        yield from below(kind)


def test_every_code_is_listed_with_an_example_and_its_cure() -> None:
    listed = {entry.code for entry in catalogue.entries()}
    defined = {
        kind.__dict__["code"]
        for base in (DeploymentError, AgentsError, RegistryError, ProviderError)
        for kind in below(base)
        if isinstance(kind.__dict__.get("code"), str)
    }
    assert defined - listed == set()


def test_no_code_is_listed_twice_and_nothing_is_left_empty() -> None:
    entries = catalogue.entries()
    assert len({entry.code for entry in entries}) == len(entries)
    assert all(entry.title and entry.example and entry.cure for entry in entries)


def test_the_page_of_the_docs_is_the_catalogue() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "problems.md"
    assert page.read_text() == catalogue.as_markdown(), (
        "write it again: manage.py problems --markdown > docs/problems.md"
    )

"""A node for each test, and images that its releases name."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests import images, nodes
from tests.nodes import Node

Pushed = Callable[..., str]


@pytest.fixture
def node(docker_host: str) -> Iterator[Node]:
    """A node that serves nothing yet."""
    with nodes.running_node(docker_host) as made:
        yield made


@pytest.fixture
def page(registry_host: str) -> Callable[[str], str]:
    """Pushes a web server whose page is the text, and answers its reference with digest."""

    def push(text: str) -> str:
        built = images.web_image({"index.html": f"{text}\n", "up": "ok\n"}, scripts={"env": ENV})
        return images.push(registry_host, "acme/page", built, text.replace(" ", "-"))

    return push


@pytest.fixture
def program(registry_host: str) -> Pushed:
    """Pushes an image that runs these words."""

    def push(*words: str, **config: object) -> str:
        built = images.plain_image(*words, **config)
        return images.push(registry_host, "acme/program", built, "t" + built.digest[-12:])

    return push


ENV = "#!/bin/sh\necho 'Content-Type: text/plain'\necho\nenv\n"

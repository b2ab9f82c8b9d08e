"""The app that is measured: a page, a healthcheck each second, and an image that nobody has pulled before."""

from __future__ import annotations

import secrets

from scripts import samples
from tests.acceptance.installation import Tenant

COMPOSE = """\
services:
  web:
    image: {image}
    init: true  # the server ignores SIGTERM as process 1, and Compose by hand would wait ten seconds for it
    ports: ["8080"]
    healthcheck:
      test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/"]
      interval: 1s
      timeout: 2s
      retries: 10
"""


def image(text: str) -> samples.Image:
    """The sample with a page of its own and a layer of its own, so that each is really pulled."""
    page = samples.Files(files={"www/index.html": (f"{text} {secrets.token_hex(512)}\n".encode(), 0o644)})
    command = ["/bin/httpd", "-f", "-p", "8080", "-h", "/www"]
    return samples.image([samples.programs(), page], Cmd=command, User="65532:65532", ExposedPorts={"8080/tcp": {}})


def push(tenant: Tenant, login: dict[str, str], repository: str, tag: str) -> str:
    """Push a new image whose page starts with the tag; answers its reference."""
    name = f"{login['namespace']}/{repository}"
    samples.Repository(login["registry"], name, login["username"], login["password"]).push(image(tag), tag)
    return f"{login['registry']}/{name}:{tag}"

"""Sample apps for acceptance tests: a static page, a CGI that shows the environment, and what makes them sick."""

from __future__ import annotations

import textwrap

from tests.images import Image, web_image


def page(text: str, *, up: bool = True) -> Image:
    """A web server on 8080 that answers `text` at /, and 200 at /up if `up`."""
    pages = {"index.html": f"{text}\n"} | ({"up": "ok\n"} if up else {})
    return web_image(pages, scripts={"env": "#!/bin/sh\necho 'Content-Type: text/plain'\necho\nenv\n"})


def compose(image: str, *, environment: dict[str, str] | None = None, more: str = "", top: str = "") -> str:
    """One service `web` with a healthcheck that asks /up every second."""
    lines = "".join(f"      {name}: {value!r}\n" for name, value in (environment or {}).items())
    return (
        textwrap.dedent(
            f"""\
            services:
              web:
                image: {image}
                ports: ["8080"]
                healthcheck:
                  test: ["CMD", "/bin/wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/up"]
                  interval: 1s
                  timeout: 2s
                  retries: 3
            """
        )
        + (f"    environment:\n{lines}" if lines else "")
        + textwrap.indent(textwrap.dedent(more), "    ")
        + textwrap.dedent(top)
    )

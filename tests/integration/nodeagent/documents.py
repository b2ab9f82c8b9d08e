"""Compose files that the tests of the engine release."""

from __future__ import annotations

import textwrap

CHECK = """\
healthcheck:
  test: [CMD, /bin/wget, -q, -O, /dev/null, "http://127.0.0.1:8080/up"]
  interval: 1s
  timeout: 2s
  retries: 2
"""


def web(image: str, *, more: str = "", check: str = CHECK, others: str = "", top: str = "") -> str:
    """A service `web` on 8080 with a public route; `more` are further keys of it, `others` further services."""
    own = f'image: {image}\nports: ["8080"]\nstop_grace_period: 1s\n{check}{textwrap.dedent(more)}'
    services = f"web:\n{textwrap.indent(own, '  ')}\n{textwrap.dedent(others)}"
    return f"services:\n{textwrap.indent(services, '  ')}\n{textwrap.dedent(top)}"

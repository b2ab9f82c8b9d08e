"""Command lines for Docker's own programs: argv lists, never shell strings, never a secret among them.

Only Compose is called as a program, since it alone turns a Compose file into containers. Everything else goes through
the Engine's socket, where credentials and values travel in a request's body and show up in no process list.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def compose_create(
    *, project: str, compose_file: Path, override_file: Path, services: list[str], scales: Mapping[str, int]
) -> list[str]:
    """Create what is missing up to these numbers of containers, and do nothing else.

    Never a plain `up`: it starts, recreates and removes (with two containers of a service it removes one and recreates
    the other, so that nothing serves). `scales` must have these services and all that they depend on, or Compose takes
    the number of the file, which is 1, and removes what is above it; of others it must have none (Compose calls them
    disabled). Not `--no-deps`: it changes the configuration hash.
    """
    scaled = [argument for name, count in sorted(scales.items()) for argument in ("--scale", f"{name}={count}")]
    return [
        *("docker", "compose", "--ansi", "never", "--progress", "quiet"),
        *("--project-name", project, "--project-directory", str(override_file.parent)),
        *("--env-file", "/dev/null", "--file", str(compose_file), "--file", str(override_file)),
        *("up", "--no-start", "--no-recreate", "--no-build", "--pull", "never"),
        *scaled,
        *sorted(services),
    ]


def compose_environment(values: Mapping[str, str], *, docker_host: str, home: Path, path: str) -> dict[str, str]:
    """The whole environment of a Compose call: the sealed values, how to reach the Engine, and an empty home.

    Nothing of the agent's own environment, or a reference in a file could read it.
    """
    return {
        **values,
        "DOCKER_HOST": docker_host,
        "DOCKER_CONFIG": str(home),
        "HOME": str(home),
        "PATH": path,
    }

#!/usr/bin/env python3
"""Commands of the control plane. `compose_check` and `render` are answered without importing Django."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run one command; answers its exit status."""
    if len(sys.argv) > 1 and sys.argv[1] in ("compose_check", "render"):
        from deployments.domain import cli

        return cli.main(sys.argv[1:])
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sam_project.settings")
    os.environ.setdefault("SAM_DATABASE_POOL", "false")
    from django.core.management import execute_from_command_line
    from environs import EnvError

    try:
        execute_from_command_line(sys.argv)
    except EnvError as fault:
        cure = "`make up` writes them to .sam/settings.env; otherwise set them in the environment."
        sys.stderr.write(f"Refused: settings.invalid: {fault} {cure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

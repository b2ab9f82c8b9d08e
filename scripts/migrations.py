"""`make migrations`: applies all of them to a PostgreSQL of its own, then looks for missing and dangerous ones."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts import databases, ports


def main() -> int:
    """0 if the migrations apply, none is missing, and none would break a version that still runs."""
    with _server() as url:
        os.environ["DATABASE_URL"] = url
        import django

        django.setup()
        return _applied() or _none_missing() or _none_dangerous()


def _applied() -> int:
    from django.core.management import call_command

    call_command("migrate", "--noinput", verbosity=0)
    print("migrations: all of them apply")
    return 0


def _none_missing() -> int:
    from django.core.management import call_command

    try:
        call_command("makemigrations", "--check", "--dry-run")
    except SystemExit as end:
        print("migrations: a model changed without its migration: run `manage.py makemigrations --name WHAT`")
        return int(end.code or 0)
    return 0


def _none_dangerous() -> int:
    """A table's first migration may do anything: no version runs on what is not there yet."""
    from django_migration_linter import MigrationLinter

    linter = MigrationLinter(
        include_apps=["timeline", "agents", "providers", "registry", "deployments"],
        ignore_initial_migrations=True,
        no_cache=True,
        quiet=["ok", "ignore"],
    )
    linter.lint_all_migrations()
    return 1 if linter.has_errors else 0


@contextmanager
def _server() -> Iterator[str]:
    """A PostgreSQL that ends with this program, and the URL of its database."""
    root = Path(tempfile.mkdtemp(prefix="sam-migrations-"))
    root.chmod(0o711)
    password, port = secrets.token_hex(16), ports.choose()[0]
    try:
        databases.initialise(root / "postgres", password=password)
        argv = databases.command(root / "postgres", port, temporary=True)
        server = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        try:
            url = databases.url(port, password, "postgres")
            databases.wait_until_ready(url)
            yield url
        finally:
            server.terminate()
            server.kill()
            server.wait()
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    sys.exit(main())

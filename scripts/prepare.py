"""Everything that must be true in the database before the plane starts, in one Python process: Django takes a second.

Runs the operator commands that a person would run, tells each with its time, and prints one JSON object at the end.
Safe to run again: what exists stays.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import sys
from typing import Any

from scripts import clocks, databases, keys, places, ports

PROJECT, ENVIRONMENT = "sample", "production"
ADMIN = "admin"


class RefusedError(RuntimeError):
    """An operator command refused."""

    code = "up.refused"
    retryable = False

    def __init__(self, words: tuple[str, ...], said: str):
        self.words, self.said = words, said

    def __str__(self) -> str:
        return f"`manage.py {' '.join(self.words)}` refused: {self.said.strip() or 'it said nothing'}"


def main(argv: list[str]) -> int:
    """0 done, 1 refused, with the reason on standard error. `--renew-token` does that alone."""
    try:
        _prepare(places.here(), only_token="--renew-token" in argv)
    except (RefusedError, databases.DatabaseError) as refusal:
        print(f"up: {refusal}", file=sys.stderr)
        return 1
    return 0


def _prepare(where: places.Places, *, only_token: bool) -> None:
    clock = clocks.Clock("up")
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "sam_project.settings")
    django.setup()
    if only_token:
        renew_token(where)
        return
    _registry(where, ports.load(where.ports))
    clock.tell("the registry's key, certificate and configuration")
    _database()
    clock.tell("the database answers")
    _run("migrate", "--noinput", verbosity=0)
    clock.tell("migrations")
    _run("keyset", "init", "--json")
    clock.tell("deploy keys")
    _admin(keys.keep(where, "admin"))
    clock.tell("an account for the admin")
    _sample(where, clock)


def _registry(where: places.Places, chosen: ports.Ports) -> None:
    realm = f"{os.environ.get('SAM_PUBLIC_URL') or f'http://127.0.0.1:{chosen.web}'}/registry/token"
    _run("registry_setup", "--state-dir", str(where.state), "--port", str(chosen.registry), "--realm", realm)


def _database() -> None:
    server_url = os.environ["DATABASE_URL"]
    base, _, name = server_url.partition("?")[0].rpartition("/")
    databases.wait_until_ready(f"{base}/postgres")
    databases.create_database(f"{base}/postgres", name)


def _admin(password: str) -> None:
    from django.contrib.auth import get_user_model

    if not get_user_model().objects.filter(username=ADMIN).exists():  # a password that a person changed stays theirs
        os.environ["DJANGO_SUPERUSER_PASSWORD"] = password
        _run("createsuperuser", "--noinput", "--username", ADMIN, "--email", "")
        del os.environ["DJANGO_SUPERUSER_PASSWORD"]


def _sample(where: places.Places, clock: clocks.Clock) -> None:
    """The walk's project, through the same commands that an operator has; whatever of it is there stays."""
    target = f"{PROJECT}/{ENVIRONMENT}"
    if not _accepts("environment", "show", target, "--json"):
        _accepts("project", "create", PROJECT, "--json")  # there already, if an earlier run ended here
        _run("environment", "create", target, "--gate", "open", "--json")
        clock.tell(f"project {PROJECT}, and environment {ENVIRONMENT} with its gate open")
    for kind, name, value in (("variable", "GREETING", "Hello from SAM"), ("secret", "SIGNATURE", _signature())):
        if f'"{name}"' not in _run(kind, "list", target, "--json"):
            _run(kind, "set", target, name, "--json", given=value)
            clock.tell(f"{kind} {name}")
    if not places.read_json(where.sample).get("token"):
        renew_token(where)
        clock.tell("an agent token")


def _signature() -> str:
    return secrets.token_urlsafe(24)


def renew_token(where: places.Places) -> str:
    """A new token for the walk, kept 0600, since it is shown only once."""
    answer = json.loads(_run("agent_token", "create", PROJECT, "--name", "walk", "--json").splitlines()[-1])
    places.write_privately(where.sample, json.dumps(answer))
    return str(answer["token"])


def _accepts(*words: str) -> bool:
    try:
        _run(*words)
    except RefusedError:
        return False
    return True


def _run(*words: str, given: str = "", **options: Any) -> str:
    """What the command printed. Raises RefusedError with what it said."""
    from django.core.management import CommandError, call_command

    out, err = io.StringIO(), io.StringIO()
    usual, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(given.encode()))
    try:
        call_command(*words, stdout=out, stderr=err, **options)
    except CommandError as refusal:
        raise RefusedError(words, f"{refusal} {err.getvalue()}") from refusal
    except SystemExit as end:
        if end.code:
            raise RefusedError(words, err.getvalue() + out.getvalue()) from end
    finally:
        sys.stdin = usual
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

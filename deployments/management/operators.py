"""What every operator command shares: actions, `--json`, exit status, and refusals without a traceback.

Exit status: 0 done, 1 refused (the code and the cure are on standard error), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder
from django.db import InterfaceError, OperationalError, ProgrammingError

from agents.errors import AgentsError
from providers.errors import ProviderError
from registry.errors import RegistryError

from ..errors import DeploymentError, NotBuiltYet

Options = Mapping[str, Any]
# What a shell reports of a program that SIGINT ended.
_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Answer:
    """What an action has done: lines to read, and one object for `--json`. Not done: exit status 1."""

    lines: Sequence[str]
    body: Mapping[str, Any]
    warnings: Sequence[str] = field(default_factory=tuple)
    is_done: bool = True


class Refused(CommandError):
    """Ends a command with status 1. Django prints it as `Refused: CODE: what, why and the cure`."""


Action = Callable[[Options], Answer]
Add = Callable[..., CommandParser]


class OperatorCommand(BaseCommand):
    """A noun with actions. Subclasses add theirs in `actions(add)`: `add(name, function, help)` answers its parser."""

    # The checks of the whole project would triple the time of each call; `manage.py check` runs them.
    requires_system_checks = []

    def actions(self, add: Add) -> None:
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        choices = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

        def add(name: str, action: Action, words: str) -> CommandParser:
            chosen: CommandParser = choices.add_parser(name, help=words, description=words)
            chosen.set_defaults(run=action)
            return with_json(chosen)

        self.actions(add)

    def handle(self, *arguments: Any, **options: Any) -> None:
        run: Action = options["run"]
        try:
            answer = run(options)
        except KeyboardInterrupt:
            raise SystemExit(_INTERRUPTED) from None
        except Exception as error:
            code, text = _refusal(error)
            if options.get("traceback"):
                raise
            if options.get("as_json"):
                self.stdout.write(_dumped({"ok": False, "code": code, "detail": text}))
            raise Refused(f"{code}: {text}") from error
        self._tell(answer, as_json=options.get("as_json", False))

    def _tell(self, answer: Answer, *, as_json: bool) -> None:
        for warning in answer.warnings:
            self.stderr.write(f"Warning: {warning}")
        for line in [_dumped(answer.body)] if as_json else answer.lines:
            self.stdout.write(line)
        if not answer.is_done:
            raise SystemExit(1)


class SingleCommand(OperatorCommand):
    """A command that is one action and has no nouns under it."""

    def run(self, options: Options) -> Answer:
        raise NotImplementedError

    def add_arguments(self, parser: CommandParser) -> None:
        with_json(parser).set_defaults(run=self.run)


def with_json(parser: CommandParser) -> CommandParser:
    parser.add_argument("--json", dest="as_json", action="store_true", help="one JSON object on the last line")
    return parser


def by_operator() -> dict[str, str]:
    """Who is at the keyboard, for events and audit rows."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as in a container
        name = f"uid {os.getuid()}"
    return {"operator": f"{name} (manage.py)"}


def environment_path(text: str) -> str:
    """Argument type: PROJECT/ENVIRONMENT."""
    project, slash, environment = text.partition("/")
    if not (project and slash and environment) or "/" in environment or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not PROJECT/ENVIRONMENT")
    return text


def later(what: str) -> Action:
    """An action that the contract names and this version does not have."""

    def refuse(options: Options) -> Answer:
        raise NotBuiltYet(what)

    return refuse


def table(rows: Sequence[Sequence[object]], *, empty: str) -> list[str]:
    """Aligned columns, or the sentence that says that there are none."""
    if not rows:
        return [empty]
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in texts) for column in range(len(texts[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts]


def _refusal(error: Exception) -> tuple[str, str]:
    """Code and text of what went wrong. What nobody foresaw names its kind only: its text may hold a value."""
    if isinstance(error, DeploymentError | AgentsError | RegistryError | ProviderError):
        return error.code, str(error)
    if isinstance(error, ProgrammingError):
        return "database.not_migrated", "The database lacks tables or columns of this version. Run `manage.py migrate`."
    if isinstance(error, OperationalError | InterfaceError):
        return (
            "database.unavailable",
            "The database does not answer. Start it (`make up`), or set DATABASE_URL to the one that runs.",
        )
    return (
        "command.failed",
        f"{type(error).__name__}. Nothing more is known here; `--traceback` shows where, and may show values.",
    )


def _dumped(body: Mapping[str, Any]) -> str:
    return json.dumps(body, cls=DjangoJSONEncoder, ensure_ascii=False)

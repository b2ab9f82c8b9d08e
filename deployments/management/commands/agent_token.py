"""`manage.py agent_token`: bearer tokens for agents, shown once."""

from __future__ import annotations

import argparse
from typing import Any

from agents import profiles, projects, tokens
from agents.models import AgentToken, Project
from agents.principals import Scope
from deployments.management.operators import Add, Answer, OperatorCommand, Options, by_operator, table
from deployments.services import environments

_TEN_YEARS_SECONDS = 10 * 365 * 86_400


class Command(OperatorCommand):
    help = "Agent tokens: create (shown once), list, revoke."

    def actions(self, add: Add) -> None:
        create = add("create", self.create, "make a token; its text is shown once")
        create.add_argument("project", metavar="PROJECT")
        create.add_argument("--name", required=True, metavar="N", type=_name)
        create.add_argument(
            "--scope",
            action="append",
            default=[],
            metavar="S",
            help=f"one of {', '.join(Scope)}; none given: all of them",
        )
        create.add_argument(
            "--environment",
            action="append",
            default=[],
            metavar="E",
            help="limits the token to this environment; may be given again",
        )
        create.add_argument("--profile", metavar="P", help="the agent profile that the token speaks for")
        create.add_argument("--expires-in", type=_seconds, metavar="SECONDS")
        add("list", self.listed, "tokens, without their texts").add_argument("project", nargs="?", metavar="PROJECT")
        add("revoke", self.revoke, "end a token at once").add_argument("id", metavar="ID")

    def create(self, options: Options) -> Answer:
        project = projects.named(options["project"])
        named = [environments.named(f"{project.slug}/{slug}") for slug in options["environment"]]
        profile, is_new = (
            profiles.ensure(project=project, name=options["profile"], by=by_operator())
            if options["profile"]
            else (None, False)
        )
        row, text = tokens.create(
            project=project,
            name=options["name"],
            scopes=options["scope"],
            environment_ids=[environment.pk for environment in named],
            profile=profile,
            expires_in_seconds=options["expires_in"],
            by=by_operator(),
        )
        return Answer(
            [f"Token {row.pk} made for {project.slug}. This is the only time that it is shown:", text],
            {"id": row.pk, "token": text, "expires_at": row.expires_at},
            warnings=[f"Agent profile {options['profile']} is new."] if is_new else [],
        )

    def listed(self, options: Options) -> Answer:
        project = projects.named(options["project"]) if options["project"] else None
        rows = AgentToken.objects.select_related("project", "profile").order_by("project__slug", "-created_at")
        bodies = [_represented(row) for row in (rows.filter(project=project) if project else rows)]
        lines = table(
            [(body["id"], body["project"], body["name"], body["state"], " ".join(body["scopes"])) for body in bodies],
            empty="There are no tokens. `agent_token create` makes one.",
        )
        return Answer(lines, {"tokens": bodies})

    def revoke(self, options: Options) -> Answer:
        row = tokens.revoke(token_id=options["id"], by=by_operator())
        return Answer([f"Token {row.pk} is revoked."], {"id": row.pk, "revoked_at": row.revoked_at})


def _represented(row: AgentToken) -> dict[str, Any]:
    project: Project = row.project
    return {
        "id": row.pk,
        "project": project.slug,
        "name": row.name,
        "state": tokens.state_of(row),
        "scopes": row.scopes,
        "environment_ids": [str(pk) for pk in row.environment_ids],
        "profile": row.profile.name if row.profile else None,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
        "revoked_at": row.revoked_at,
    }


def _name(text: str) -> str:
    if not 0 < len(text) <= 64 or not text.isprintable():
        raise argparse.ArgumentTypeError("a name has 1 to 64 printable characters")
    return text


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text[:12]) <= _TEN_YEARS_SECONDS):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds from 1 to {_TEN_YEARS_SECONDS}")
    return int(text)

"""`manage.py problems`: every code with its cure, for a terminal or for the docs."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from deployments import catalogue


class Command(BaseCommand):
    help = "Every code that a refusal or a problem can have, with an example and its cure."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--markdown", action="store_true", help="docs/problems.md")

    def handle(self, *arguments: Any, **options: Any) -> None:
        if options["markdown"]:
            self.stdout.write(catalogue.as_markdown(), ending="")
            return
        for entry in catalogue.entries():
            self.stdout.write(f"{entry.code}: {entry.title}. {entry.cure}")

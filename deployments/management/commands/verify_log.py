"""`manage.py verify_log`: whether history still is what was signed."""

from __future__ import annotations

from django.core.management.base import CommandParser

from agents import projects
from agents.models import Project
from deployments.management.operators import Answer, Options, SingleCommand
from deployments.services import release_log


class Command(SingleCommand):
    help = (
        "Check the hash-chained release log and the nodes' receipts against the releases; status 1 "
        "at the first broken link."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--project", metavar="SLUG", help="this project only")

    def run(self, options: Options) -> Answer:
        chosen = [projects.named(options["project"])] if options["project"] else list(Project.objects.all())
        for project in chosen:
            broken = release_log.verify(project)
            if broken is not None:
                link = {"project": project.slug, "position": broken.position, "code": broken.code, "why": broken.why}
                line = (
                    f"Broken in project {project.slug}: {broken}. Compare the database with its "
                    "backup from before that entry."
                )
                return Answer([line], {"ok": False, "broken": link}, is_done=False)
        slugs = [project.slug for project in chosen]
        return Answer(
            [f"{len(slugs)} release logs hold: {', '.join(slugs) or 'none yet'}."], {"ok": True, "projects": slugs}
        )

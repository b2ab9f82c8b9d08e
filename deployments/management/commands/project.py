"""`manage.py project`: the tenants."""

from __future__ import annotations

from agents import projects
from agents.models import Project
from deployments.management.operators import Add, Answer, OperatorCommand, Options, by_operator, table


class Command(OperatorCommand):
    help = "Projects: create, list."

    def actions(self, add: Add) -> None:
        add("create", self.create, "make a project").add_argument("slug", metavar="SLUG")
        add("list", self.listed, "every project")

    def create(self, options: Options) -> Answer:
        project = projects.create(slug=options["slug"], by=by_operator())
        return Answer(
            [f"Project {project.slug} made; its registry namespace is {project.namespace}."], _represented(project)
        )

    def listed(self, options: Options) -> Answer:
        rows = list(Project.objects.all())
        lines = table(
            [(row.slug, row.namespace) for row in rows], empty="There are no projects. `project create SLUG` makes one."
        )
        return Answer(lines, {"projects": [_represented(row) for row in rows]})


def _represented(project: Project) -> dict[str, str]:
    return {"id": str(project.pk), "slug": project.slug, "namespace": project.namespace}

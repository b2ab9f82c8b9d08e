"""`manage.py volume`: what an environment stores. Growing and deleting come later."""

from __future__ import annotations

from deployments.domain.states import VolumeState
from deployments.management.operators import (
    Add,
    Answer,
    OperatorCommand,
    Options,
    environment_path,
    later,
    table,
)
from deployments.selectors import environments as selected
from deployments.services import environments

_PATH = "PROJECT/ENVIRONMENT"


class Command(OperatorCommand):
    help = "Volumes of an environment: list; resize and delete come later."

    def actions(self, add: Add) -> None:
        add("list", self.listed, "the volumes of an environment").add_argument(
            "environment", type=environment_path, metavar=_PATH
        )
        resize = add("resize", later("Growing a volume by command"), "grow a volume")
        delete = add("delete", later("Deleting a volume"), "delete a volume and what is on it")
        for chosen in (resize, delete):
            chosen.add_argument("environment", type=environment_path, metavar=_PATH)
            chosen.add_argument("name", metavar="NAME")
        resize.add_argument("--size-gb", type=int, required=True, metavar="N")
        delete.add_argument("--confirm", metavar="NAME")

    def listed(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        rows = [selected.represent_volume(row) for row in environment.volumes.exclude(state=VolumeState.DELETED)]
        lines = table(
            [(row["name"], f"{row['size_gb']} GB", row["state"], row["server"] or "attached nowhere") for row in rows],
            empty=f"{environment} has no volumes. A release that declares one makes it.",
        )
        return Answer(lines, {"environment": str(environment), "volumes": rows})

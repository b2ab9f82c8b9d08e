"""`manage.py volume`: what an environment stores; grown and deleted by an operator alone."""

from __future__ import annotations

from deployments.management.operators import (
    Add,
    Answer,
    OperatorCommand,
    Options,
    by_operator,
    environment_path,
    table,
)
from deployments.models import Volume
from deployments.selectors import environments as selected
from deployments.services import environments, volume_orders, volumes

_PATH = "PROJECT/ENVIRONMENT"


class Command(OperatorCommand):
    help = "Volumes of an environment: list, resize, delete."

    def actions(self, add: Add) -> None:
        listed = add("list", self.listed, "the volumes of an environment")
        resize = add("resize", self.resize, "grow a volume; its file system follows with the next release")
        delete = add("delete", self.delete, "delete a volume and what is on it, for good")
        for chosen in (listed, resize, delete):
            chosen.add_argument("environment", type=environment_path, metavar=_PATH)
        for chosen in (resize, delete):
            chosen.add_argument("name", metavar="NAME")
        resize.add_argument("--size-gb", type=int, required=True, metavar="N", help="of 10^9 bytes each")
        delete.add_argument("--confirm", metavar="NAME", help="the volume's name once more")

    def listed(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        rows = [selected.represent_volume(row) for row in volumes.of(environment)]
        lines = table(
            [(row["name"], f"{row['size_gb']} GB", row["state"], row["server"] or "attached nowhere") for row in rows],
            empty=f"{environment} has no volumes. A release that declares one makes it.",
        )
        return Answer(lines, {"environment": str(environment), "volumes": rows})

    def resize(self, options: Options) -> Answer:
        row = volume_orders.resize(
            environment=environments.named(options["environment"]),
            name=options["name"],
            size_gb=options["size_gb"],
            by=by_operator(),
        )
        grows = f"grows to {row.wanted_gb} GB" if row.wanted_gb else f"has {row.size_gb} GB"
        return Answer([f"Volume {row.name} {grows}."], _represented(row))

    def delete(self, options: Options) -> Answer:
        row = volume_orders.delete(
            environment=environments.named(options["environment"]),
            name=options["name"],
            confirm=options["confirm"],
            by=by_operator(),
        )
        return Answer([f"Volume {row.name} is {row.state}."], _represented(row))


def _represented(row: Volume) -> dict[str, object]:
    return {
        "environment": str(row.environment),
        "volume": {**selected.represent_volume(row), "wanted_gb": row.wanted_gb},
    }

"""The `secret` and `variable` commands: one behaviour, two kinds."""

from __future__ import annotations

import sys
from typing import Any, ClassVar

from ..models import NamedValue
from ..services import environments, values
from .operators import Add, Answer, OperatorCommand, Options, by_operator, environment_path, table


class NamedValueCommand(OperatorCommand):
    """Set from standard input, listed, unset. A secret's value is never printed again."""

    kind: ClassVar[str]

    def actions(self, add: Add) -> None:
        words = f"set a {self.kind}; the value is standard input, byte for byte"
        for name, action, told in [("set", self.set_value, words), ("unset", self.unset, f"remove a {self.kind}")]:
            chosen = add(name, action, told)
            chosen.add_argument("environment", type=environment_path, metavar="PROJECT/ENVIRONMENT")
            chosen.add_argument("name", metavar="NAME")
        add("list", self.listed, f"the {self.kind}s of an environment").add_argument(
            "environment", type=environment_path, metavar="PROJECT/ENVIRONMENT"
        )

    def set_value(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        if sys.stdin.isatty():
            self.stderr.write("The value is what you type now, line ends included; Ctrl-D ends it.")
        # One byte beyond the limit is enough to be refused for; the rest of an endless input is not read.
        value = sys.stdin.buffer.read(values.MAX_BYTES + 1)  # one more tells that it is too long
        row, warnings = values.set_value(
            environment=environment, kind=self.kind, name=options["name"], value=value, by=by_operator()
        )
        return Answer(
            [
                f"{environment}: {self.kind} {row.name} set, version {row.version}. The next "
                "release uses it; what runs keeps the old one."
            ],
            {
                "environment": str(environment),
                "kind": self.kind,
                "name": row.name,
                "version": row.version,
                "warnings": warnings,
            },
            warnings=warnings,
        )

    def unset(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        values.unset(environment=environment, kind=self.kind, name=options["name"], by=by_operator())
        body = {"environment": str(environment), "kind": self.kind, "name": options["name"]}
        return Answer([f"{environment}: {self.kind} {options['name']} unset."], body)

    def listed(self, options: Options) -> Answer:
        environment = environments.named(options["environment"])
        rows = values.listed(environment=environment, kind=self.kind)
        lines = table(
            [(row.name, f"version {row.version}", row.set_at.isoformat(timespec="seconds")) for row in rows],
            empty=f"{environment} has no {self.kind}s.",
        )
        return Answer(
            lines, {"environment": str(environment), f"{self.kind}s": [self._represented(row) for row in rows]}
        )

    def _represented(self, row: NamedValue) -> dict[str, Any]:
        shown = {"value": row.value} if self.kind == NamedValue.VARIABLE else {}
        return {"name": row.name, "version": row.version, "set_at": row.set_at, "set_by": row.set_by, **shown}

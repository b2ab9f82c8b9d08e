"""Real Compose files, and what comes of each: the table of docs/compose-corpus.md."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from deployments.domain import compose
from deployments.domain.problems import Problem
from tests import edits

ROUNDS = 3


@dataclass(frozen=True)
class Outcome:
    """A file as it is, and once its `build` is replaced by an image and the offered fixes are made."""

    name: str
    problems: tuple[Problem, ...]
    left: tuple[Problem, ...]
    rounds: int
    built: bool

    @property
    def verdict(self) -> str:
        if not self.problems:
            return "accepted"
        if self.left:
            return "refused"
        return f"accepted after {'an image was built and ' if self.built else ''}{self.rounds} round of fixes".replace(
            "0 round of fixes", "nothing else"
        ).replace(" and nothing else", "")


def directory() -> Path | None:
    """Where the files are: `compose` in SAM_TEST_DATA. Raises where CI needs them and they are not there."""
    found = Path(os.environ.get("SAM_TEST_DATA", Path(__file__).parents[1].parent / "shared" / "data")) / "compose"
    if found.is_dir():
        return found
    if os.environ.get("CI") == "true":
        raise FileNotFoundError(found)
    return None


def outcome(file: Path) -> Outcome:
    document = file.read_bytes()
    problems = compose.parse(document).problems
    root = edits.model(document)
    built = False
    for name, service in root["services"].items():
        if service.pop("build", None) is not None:
            service["image"] = f"registry.example/built/{name}:1"
            built = True
    document = edits.written(root)
    rounds = 0
    for _ in range(ROUNDS):
        parsed = compose.parse(document)
        if not edits.fixes(parsed.problems):
            break
        document, rounds = edits.cured(document, parsed.problems), rounds + 1
    return Outcome(file.name, problems, compose.parse(document).problems, rounds, built)


def page(files: Path) -> str:
    """The table, and which codes are met most."""
    outcomes = [outcome(file) for file in sorted(files.iterdir())]
    verdicts = Counter(each.verdict.split(" ")[0] if not each.problems or each.left else "cured" for each in outcomes)
    lines = [
        "# Real files\n",
        "<!-- Written by `make golden` from the files of docker/awesome-compose; do not edit. -->\n",
        f"{len(outcomes)} files of docker/awesome-compose (CC0): {verdicts['accepted']} are accepted as they are, "
        f"{verdicts['cured']} once an image is built where they build one and the offered fixes are made, and "
        f"{verdicts['refused']} are refused whatever a machine can do.\n",
        "| file | errors | with a fix | outcome | what is left |",
        "|---|---|---|---|---|",
    ]
    for each in outcomes:
        fixable = sum(problem.fix is not None for problem in each.problems)
        left = ", ".join(f"`{problem.code}` at `{problem.pointer}`" for problem in each.left)
        lines.append(f"| {each.name} | {len(each.problems)} | {fixable} | {each.verdict} | {left} |")
    codes = Counter(code for each in outcomes for code in {problem.code for problem in each.problems})
    lines += ["", "What is refused in how many files:\n", "| code | files |", "|---|---|"]
    lines += [
        f"| `{code}` | {number} |" for code, number in sorted(codes.items(), key=lambda pair: (-pair[1], pair[0]))
    ]
    return "\n".join([*lines, ""])

"""Compose in, manifest out: every fault of a file in one answer, or the manifest that it means. No input raises."""

from __future__ import annotations

from dataclasses import dataclass, field

from deployments.domain.compose import findings, loader, nodes, relations, table
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading
from deployments.domain.manifest import Manifest
from deployments.domain.problems import Places, Problem


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a document came to: a manifest and no problems, or problems and no manifest; warnings either way.

    `outline` holds what could be read of the services of a faulty document (image, environment, limits), so that what
    the environment would object to is told in the same answer.
    `places` finds line and column of a pointer, for problems that the environment adds later.
    """

    manifest: Manifest | None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    places: Places = field(default_factory=Places, compare=False)
    outline: Manifest | None = field(default=None, compare=False)


def parse(document: bytes) -> Parsed:
    """Read a Compose file. Never raises; problems and warnings come in the order of the document."""
    reading = Reading()
    tree = loader.read(document, reading)
    root = tree.root if tree.root is not None else nodes.marker(0, 0)
    found = read(root, reading) if tree.whole else None
    return answer(root, reading, found, nodes.Paths(root))


def read(root: Node, reading: Reading) -> Manifest | None:
    """Apply every rule to a whole tree: the manifest, or with errors in the reading an outline of it."""
    reading.walk_again()
    top = table.document(root, reading)
    if top is None:
        return None
    related = relations.Relations(root, top, reading)
    related.check()
    return related.outline() if reading.errors else related.manifest()


def answer(root: Node, reading: Reading, found: Manifest | None, paths: nodes.Paths) -> Parsed:
    """Findings as problems with their places."""
    return Parsed(
        manifest=None if reading.errors else found,
        outline=found if reading.errors else None,
        problems=findings.problems(reading.errors, paths, reading.left_out) if reading.errors else (),
        warnings=findings.problems(reading.warnings, paths) if reading.warnings else (),
        places=Places(lambda pointer: nodes.locate(root, pointer)),
    )

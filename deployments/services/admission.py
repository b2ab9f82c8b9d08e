"""What a submission must pass beyond its own form: the policy, the images, and the names that it refers to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry import backends
from registry.errors import RegistryError
from registry.ports import Wanted

from ..domain import images, manifest, references
from ..domain import policy as policy_rules
from ..domain.compose.findings import MORE
from ..domain.manifest import Manifest
from ..domain.problems import Places, Problem
from ..errors import InvalidSubmission
from ..models import Environment
from ..selectors import policies
from . import storage_rules, values


@dataclass(frozen=True, slots=True)
class Admitted:
    """A manifest with every image pinned, and the warnings that came up on the way."""

    manifest: Manifest
    warnings: tuple[Problem, ...]


def admit(environment: Environment, parsed: Any, *, missing_is_fault: bool, is_new: bool = True) -> Admitted:
    """`is_new`: not a manifest of before, whose volumes may have grown since it was written.

    Raises InvalidSubmission with every fault that could be found, and the registry's errors (retryable) as they are.

    Images are looked up only when nothing else is wrong with where they come from: a foreign image is refused with the
    same words whether it exists or not.
    """
    judged = parsed.manifest or parsed.outline
    if judged is None:
        raise InvalidSubmission(parsed.problems)
    problems = list(policy_rules.check(judged, policies.of(environment), parsed.places))
    if is_new:
        problems += storage_rules.problems(environment, judged, parsed.places)
    if missing_is_fault:
        problems += _missing_references(environment, judged, parsed.places)
    refused = {problem.pointer for problem in problems}
    wanted = {pointer: image for pointer, image in manifest.images(judged).items() if pointer not in refused}
    digests, unresolved = _resolve(wanted, parsed.places)
    found = sorted([*problems, *unresolved], key=_place)
    if parsed.manifest is None:
        raise InvalidSubmission(_merged(parsed.problems, found))
    if found:
        raise InvalidSubmission(found)
    return Admitted(manifest.pin(parsed.manifest, digests), tuple(parsed.warnings))


def _place(problem: Problem) -> tuple[int, int, str]:
    return problem.line or 0, problem.column or 0, problem.pointer


def _merged(of_the_document: Sequence[Problem], of_the_environment: Sequence[Problem]) -> list[Problem]:
    """All of them in the order of the document; what says that there are more stays last."""
    more = [problem for problem in of_the_document if problem.code == MORE]
    rest = [problem for problem in of_the_document if problem.code != MORE]
    return [*sorted([*rest, *of_the_environment], key=_place), *more]


def _missing_references(environment: Environment, manifest_: Manifest, places: Places) -> Iterable[Problem]:
    """A name that is set counts as given; whether its value is good enough for `:?` shows when it is sealed."""
    known = dict.fromkeys(values.versions(environment), "set")
    for use in references.missing(manifest_, known):
        line, column = places.find(use.pointer)
        fault = references.UnsetReferenceError(use)
        hint = f"Ask an operator for `manage.py secret set {environment} {use.name}` (or `variable set`)."
        yield Problem(fault.code, "error", use.pointer, line, column, str(fault), hint)


def _resolve(wanted: Mapping[str, str], places: Places) -> tuple[dict[str, str], list[Problem]]:
    """Reference to digest, each asked for once, all at the same time; what is not there is a problem at its pointer.

    Every reference here has passed the policy, so its host is allowed.

    Raises the registry's error where it cannot be asked now: that is no fault of the submission.
    """
    asked = {reference: _as_wanted(reference) for reference in set(wanted.values())}
    answers = backends.resolver(allowed_hosts={each.host for each in asked.values()}).resolve_many(asked.values())
    digests = {reference: answer for reference, each in asked.items() if isinstance(answer := answers[each], str)}
    refused = {
        reference: answer for reference, each in asked.items() if isinstance(answer := answers[each], RegistryError)
    }
    for fault in refused.values():
        if fault.retryable:
            raise fault
    problems = [
        _image_problem(pointer, refused[reference], places)
        for pointer, reference in wanted.items()
        if reference in refused
    ]
    return digests, problems


def _as_wanted(reference: str) -> Wanted:
    image = images.parse_reference(reference)
    return Wanted(image.host, image.path, image.tag, image.digest)


def _image_problem(pointer: str, fault: RegistryError, places: Places) -> Problem:
    line, column = places.find(pointer)
    return Problem(fault.code, "error", pointer, line, column, fault.what, fault.cure)

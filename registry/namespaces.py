"""Repository names: the grammar, a project's namespace, and what lies inside it. Pure.

Grammar: distribution/reference, `name-component`. It has no upper case, so a registry can fold nothing that passes.
"""

from __future__ import annotations

import hashlib
import re

from .errors import InvalidNamespace

COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
NAME = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*", re.ASCII)
TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)

MAX_REPOSITORY_LENGTH = 255  # distribution/reference: NameTotalLengthMax
MAX_NAMESPACE_LENGTH = 128  # leaves as much again for the images inside
_FINGERPRINT_LENGTH = 10


def of_project(slug: str) -> str:
    """The namespace of a project: the slug itself where the grammar has it, else its folded form with a fingerprint.

    Two slugs that fold to one text ("Acme", "ACME") get different namespaces, and the answer for a slug never changes.
    A slug that was chosen to look like another's folded form is what the unique constraint on the column is for.
    Raises InvalidNamespace for a slug without a single letter or digit.
    """
    if _is_component(slug) and len(slug) <= MAX_NAMESPACE_LENGTH:
        return slug
    fingerprint = hashlib.sha256(slug.encode("utf-8", "surrogatepass")).hexdigest()[:_FINGERPRINT_LENGTH]
    words = re.findall(r"[a-z0-9]+", slug.lower(), re.ASCII)
    if not words:
        raise InvalidNamespace(slug)
    folded = "-".join(words)[: MAX_NAMESPACE_LENGTH - _FINGERPRINT_LENGTH - 1].rstrip("-")
    return f"{folded}-{fingerprint}"


def check(namespace: str) -> str:
    """The namespace itself. Raises InvalidNamespace for what no registry would take as a prefix."""
    if not (len(namespace) <= MAX_NAMESPACE_LENGTH and NAME.fullmatch(namespace)):
        raise InvalidNamespace(namespace)
    return namespace


def is_repository(name: str) -> bool:
    """Whether a registry would take this as a repository's name (no host, no tag)."""
    return len(name) <= MAX_REPOSITORY_LENGTH and NAME.fullmatch(name) is not None


def owns(namespace: str, repository: str) -> bool:
    """Whether a repository lies inside a namespace: `acme` owns `acme/web`, and neither `acme` nor `acme-2/web`."""
    return is_repository(repository) and repository.startswith(f"{namespace}/")


def _is_component(text: str) -> bool:
    return re.fullmatch(COMPONENT, text, re.ASCII) is not None

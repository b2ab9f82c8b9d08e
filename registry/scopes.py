"""What a client asks the token service for, and which part of it a credential carries. Pure.

Grammar: distribution/docs/spec/auth/scope.md. `repository:acme/web:pull,push`; several to a request, or with spaces.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from . import namespaces

MAX_SCOPES = 32
PULL, PUSH = "pull", "push"


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource and the actions asked on it."""

    type: str
    name: str
    actions: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rights:
    """What a credential may do: push and pull inside a namespace, or pull of named repositories."""

    namespace: str | None = None
    repositories: frozenset[str] = frozenset()

    def actions_on(self, repository: str) -> frozenset[str]:
        """Both rules ask for a well-formed name, so `acme/../other/web` is nobody's."""
        if self.namespace is not None and namespaces.owns(self.namespace, repository):
            return frozenset({PULL, PUSH})
        if repository in self.repositories and namespaces.is_repository(repository):
            return frozenset({PULL})
        return frozenset()


def parse(parameters: Iterable[str]) -> list[Scope]:
    """The well-formed scopes of a request, MAX_SCOPES of them at most; what is malformed earns nothing and no error."""
    texts = [text for parameter in parameters for text in parameter.split(" ") if text]
    return [scope for text in texts[:MAX_SCOPES] if (scope := _scope(text))]


def _scope(text: str) -> Scope | None:
    kind, _, rest = text.partition(":")
    name, _, actions = rest.rpartition(":")  # a name may hold a colon (HOST:PORT/...), actions never do
    if not (kind and name and actions):
        return None
    return Scope(kind, name, frozenset(actions.split(",")))


def granted(asked: Collection[Scope], rights: Rights) -> dict[str, frozenset[str]]:
    """Repository to the actions both asked for and carried; the intersection, without an error where it is smaller.

    A cross-repository mount asks for pull on its source next to push on its target: each is judged by itself.
    """
    answer: dict[str, frozenset[str]] = {}
    for scope in asked:
        if scope.type != "repository":
            continue
        actions = scope.actions & rights.actions_on(scope.name)
        if actions:
            answer[scope.name] = answer.get(scope.name, frozenset()) | actions
    return answer


def as_access(access: Mapping[str, Collection[str]]) -> list[dict[str, object]]:
    """The `access` claim of a registry token."""
    return [
        {"type": "repository", "name": name, "actions": sorted(actions)} for name, actions in sorted(access.items())
    ]

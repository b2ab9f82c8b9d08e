"""What this room refuses, with its cure."""

from __future__ import annotations

from typing import ClassVar


class AgentsError(Exception):
    """Base of what the agents room refuses. `code` is public and stable."""

    code: ClassVar[str]
    retryable: ClassVar[bool] = False


class InvalidName(AgentsError):
    code = "name.invalid"

    def __init__(self, noun: str, name: str, rule: str):
        self.noun, self.name, self.rule = noun, name, rule

    def __str__(self) -> str:
        return f"{self.name!r} is no name for a {self.noun}: {self.rule}."


class NameTaken(AgentsError):
    code = "name.taken"

    def __init__(self, noun: str, name: str):
        self.noun, self.name = noun, name

    def __str__(self) -> str:
        return f"The name {self.name!r} is taken by another {self.noun}. Choose another one."


class UnknownScope(AgentsError):
    code = "token.unknown_scope"

    def __init__(self, scopes: list[str], known: list[str]):
        self.scopes, self.known = scopes, known

    def __str__(self) -> str:
        return f"Unknown scope {', '.join(self.scopes)}. The scopes are {', '.join(self.known)}."


class NoSuchName(AgentsError):
    code = "not_found"

    def __init__(self, noun: str, name: str):
        self.noun, self.name = noun, name

    def __str__(self) -> str:
        return f"There is no {self.noun} {self.name!r}. Names are those that `list` shows."

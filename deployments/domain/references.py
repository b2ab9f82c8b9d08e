"""References: what `${...}` in an environment value says, which expressions a release has, and what they resolve to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deployments.domain.problems import Places, Problem, pointer_to

if TYPE_CHECKING:
    from deployments.domain.manifest import Manifest

MAX_NAME_LENGTH: Final = 128
RESERVED_PREFIX: Final = "SAM_"
NAME: Final = re.compile(rf"[A-Za-z_][A-Za-z0-9_-]{{0,{MAX_NAME_LENGTH - 1}}}", re.ASCII)

_TOKEN = re.compile(r"\$(?:(\$)|\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*)|(\{))")
_INSIDE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:(:-|:\?)(.*))?", re.ASCII | re.DOTALL)
_DOLLAR_NAME = re.compile(r"\$(?:[A-Za-z_{])")


class TemplateError(ValueError):
    """A text whose `$` means something that is not accepted; `kind` is bare, unclosed, nested, operator or reserved."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


class UnsetReferenceError(LookupError):
    """A variable or secret that has no value (or an empty one where the author asked for more)."""

    code = "reference.unset"
    retryable = False

    def __init__(self, expression: Expression) -> None:
        super().__init__(expression.name)
        self.expression = expression

    def __str__(self) -> str:
        said = f": {self.expression.required_message}" if self.expression.required_message else ""
        return f"{self.expression.name} is not set in this environment{said}. Set it as a variable or secret."


@dataclass(frozen=True, slots=True)
class Expression:
    """One distinct expression of a release; `text` is what stands between the braces, `pointer` where it stands first.

    `default` applies where the name is unset or empty; `required_message` refuses unset and empty.
    """

    name: str
    default: str | None
    required_message: str | None
    pointer: str
    text: str

    @property
    def is_required(self) -> bool:
        """True if a name without a value refuses the release."""
        return self.default is None


@dataclass(frozen=True, slots=True)
class Place:
    """A place of a manifest where an expression stands."""

    pointer: str
    expression: Expression


@dataclass(frozen=True, slots=True)
class Part:
    """A reference inside a text."""

    name: str
    default: str | None
    required_message: str | None
    text: str


def template(text: str) -> tuple[str | Part, ...]:
    """The literal pieces (dollars unescaped) and references of an environment value. Raises TemplateError."""
    if "$" not in text:
        return (text,) if text else ()
    parts: list[str | Part] = []
    literal = ""
    end = 0
    for match in _TOKEN.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        dollar, inside, bare, _ = match.groups()
        if dollar:
            literal += "$"
        elif inside is not None:
            if literal:
                parts.append(literal)
            literal = ""
            parts.append(_part(inside))
        else:
            raise TemplateError("bare" if bare else "unclosed")
    literal += text[end:]
    if literal:
        parts.append(literal)
    return tuple(parts)


def normalised(parts: tuple[str | Part, ...]) -> str:
    """The one text that means these parts: every literal dollar doubled."""
    return "".join(part.replace("$", "$$") if isinstance(part, str) else f"${{{part.text}}}" for part in parts)


def _part(inside: str) -> Part:
    match = _INSIDE.fullmatch(inside)
    if match is None or len(match.group(1)) > MAX_NAME_LENGTH:
        raise TemplateError("nested" if "$" in inside or "{" in inside else "operator")
    name, operator, rest = match.groups()
    if name.startswith(RESERVED_PREFIX):
        raise TemplateError("reserved")
    if operator is None:
        return Part(name, None, None, name)
    said = _plain(rest)
    text = f"{name}{operator}{said.replace('$', '$$')}"
    return Part(name, said, None, text) if operator == ":-" else Part(name, None, said, text)


def _plain(text: str) -> str:
    """A default or message: `$$` is a dollar; a brace or a variable would nest, and Compose ends lines differently."""
    unescaped = text.replace("$$", "\0")
    if "{" in text or "\n" in text or _DOLLAR_NAME.search(unescaped):
        raise TemplateError("nested")
    return unescaped.replace("\0", "$")


def expressions(manifest: Manifest) -> tuple[Expression, ...]:
    """The distinct expressions, sorted by the bytes of their text; number n of them is `SAM_SECRET_n` on the node."""
    found: dict[str, Expression] = {}
    for service in sorted(manifest.services):
        environment = manifest.services[service].environment
        for name in sorted(environment):
            for part in _references(environment[name]):
                if part.text not in found:
                    pointer = pointer_to("services", service, "environment", name)
                    found[part.text] = Expression(part.name, part.default, part.required_message, pointer, part.text)
    return tuple(found[text] for text in sorted(found, key=str.encode))


def places(manifest: Manifest) -> tuple[Place, ...]:
    """Every place where an expression stands, one entry per place and expression, in order of pointer."""
    found: dict[tuple[str, str], Place] = {}
    for service, definition in manifest.services.items():
        for name, value in definition.environment.items():
            pointer = pointer_to("services", service, "environment", name)
            for part in _references(value):
                expression = Expression(part.name, part.default, part.required_message, pointer, part.text)
                found[pointer, part.text] = Place(pointer, expression)
    return tuple(found[key] for key in sorted(found))


def _references(value: object) -> Iterator[Part]:
    if isinstance(value, str):
        if "${" in value:
            yield from (part for part in template(value) if isinstance(part, Part))
    else:
        name: str = value.name  # type: ignore[attr-defined]
        yield Part(name, None, None, name)


def resolve(expression: Expression, values: Mapping[str, str]) -> str:
    """The text that takes the expression's place. Raises UnsetReferenceError.

    As Compose does: a default also replaces an empty value, a message also refuses one.
    """
    value = values.get(expression.name)
    if expression.default is not None:
        return value or expression.default
    if value is None or (expression.required_message is not None and not value):
        raise UnsetReferenceError(expression)
    return value


def missing(manifest: Manifest, values: Mapping[str, str]) -> tuple[Expression, ...]:
    """The expressions that would not resolve, one entry per place: each is a problem there, and a line of the plan."""
    return tuple(place.expression for place in places(manifest) if not _resolves(place.expression, values))


def unset_problem(place: Place, where: Places) -> Problem:
    """The problem of a reference to a name that has no value, at its place in the submitted document."""
    expression = place.expression
    line, column = where.find(place.pointer)
    said = f" ({expression.required_message})" if expression.required_message else ""
    return Problem(
        UnsetReferenceError.code,
        "error",
        place.pointer,
        line,
        column,
        f"{expression.name} is not set in this environment{said}.",
        "Ask an operator to set it as a variable or secret, or give the reference a default: ${NAME:-default}.",
    )


def _resolves(expression: Expression, values: Mapping[str, str]) -> bool:
    try:
        resolve(expression, values)
    except UnsetReferenceError:
        return False
    return True

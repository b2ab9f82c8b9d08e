"""The `environment` key: names, values and references. Values are never echoed in a message."""

from __future__ import annotations

import re
from typing import Final

from deployments.domain import references
from deployments.domain.compose import nodes
from deployments.domain.compose.findings import echo, remove, replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Members, Reading, key_already_noted, no_members
from deployments.domain.manifest import SecretName

RESERVED: Final = ("SAM_", "COMPOSE_", "DOCKER_")
# A key of a YAML mapping ends within 1,024 characters, so a longer name could not be rendered.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]{0,511}", re.ASCII).fullmatch
_PLAIN_REFERENCE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII).fullmatch
_INT64 = 1 << 63

_TEMPLATE_FAULTS: Final = {
    "bare": ("compose.reference_bare", "A reference needs braces here: `${NAME}`.",
    "Write `${NAME}`, or `$$` for a dollar."),
    "unclosed": ("compose.reference_syntax", "A `${` is not closed.", "Close it with `}`, or write `$$` for a dollar."),
    "nested": (
        "compose.reference_nested",
        "A default or message holds another reference, a brace or a line break.",
        "Write a plain text there, or set the whole value as a variable of the environment.",
    ),
    "operator": (
        "compose.reference_syntax",
        "Only `${NAME}`, `${NAME:-default}` and `${NAME:?message}` are accepted.",
        "Use one of these forms, or write `$$` for a dollar.",
    ),
    "reserved": (
        "compose.reference_reserved",
        "Names that begin with SAM_ are the node's own.",
        "Refer to a variable or secret with another name.",
    ),
}  # fmt: skip

Environment = dict[str, str | SecretName]


def environment(node: Node, reading: Reading) -> Members | None:
    """A mapping or a list of NAME=value. Answers texts with references and `$$`, and the node of each name."""
    members = no_members()
    if type(node) is nodes.Mapping:
        for child in node.value:
            _member(child, members, reading)
    elif type(node) is nodes.Sequence:
        for item in node.value:
            _item(item, members, reading)
    else:
        reading.mismatch(node, "a mapping, or a list of NAME=value")
        return None
    return members


def _member(child: Node, members: Members, reading: Reading) -> None:
    name = child.key.value
    members.nodes[name] = child
    if not _NAME(name) or name.startswith(RESERVED):
        if key_already_noted(child):
            return
        _refuse_name(child, name, reading, at_key=True)
    value = _value(child, reading)
    if value is not None:
        members[name] = value


def _item(item: Node, members: Members, reading: Reading) -> None:
    if type(item) is not nodes.Scalar or (not item.style and nodes.kind_of_plain(item.value) != "text"):
        if type(item) is nodes.Mapping:
            reading.error(
                item,
                "compose.environment_item",
                "An item of this list is a mapping; a list of variables holds texts.",
                "Write NAME=value, or write the whole environment as a mapping.",
            )
        else:
            reading.mismatch(item, "NAME=value")
        return
    name, equals, value = item.value.partition("=")
    if not _NAME(name) or name.startswith(RESERVED):
        _refuse_name(item, name if equals else "", reading, at_key=False)
        if not equals:
            return
    elif not equals:
        reading.error(
            item,
            "compose.environment_bare",
            f"{echo(name)} has no value; Compose would take it from the shell that it runs in.",
            "Give it a value, or refer to a variable of this environment.",
            (replace(item, f"{name}=${{{name}}}"),),
        )
    earlier = members.nodes.get(name)
    if earlier is not None:
        reading.error(
            item,
            "compose.environment_twice",
            f"{echo(name)} is set a second time.",
            "Keep one of the two (Compose would take the last one).",
            (remove(earlier),),
        )
    members.nodes[name] = item
    read = _referring(item, value, reading) if equals else None
    if read is not None:
        members[name] = read


def _refuse_name(node: Node, name: str, reading: Reading, *, at_key: bool) -> None:
    if name.startswith(RESERVED):
        prefix = next(prefix for prefix in RESERVED if name.startswith(prefix))
        reading.error(
            node,
            "compose.environment_reserved",
            f"Names that begin with {prefix} are reserved.",
            "Choose another name.",
            (remove(node),),
            at_key=at_key,
        )
        return
    reading.error(
        node,
        "compose.environment_name",
        f"{echo(name)} is no name for a variable." if name else "This is no NAME=value.",
        "Begin with a letter or an underscore; go on with letters, digits, underscores and dots.",
        at_key=at_key,
    )


def _value(child: Node, reading: Reading) -> str | SecretName | None:
    kind = nodes.kind_of(child)
    if kind == "text":
        return _referring(child, child.value, reading)
    if kind == "integer":
        return _integer(child, reading)
    if kind == "boolean":
        return "true" if nodes.BOOLEAN_WORDS[child.value] else "false"
    if kind == "float":
        _unsafe_number(child, reading, "Readers write this number in different ways.")
    elif kind == "mapping":
        return _secret(child, reading)
    elif kind == "null":
        reading.error(
            child,
            "compose.null",
            "A variable without a value would be taken from the shell that Compose runs in.",
            f'Remove it, write "" for an empty value, or refer to a variable: ${{{child.key.value}}}.'
            if len(child.key.value) < 80
            else 'Remove it, or write "" for an empty value.',
            (remove(child),),
        )
    elif kind != "opaque":
        reading.error(
            child,
            "compose.type",
            f"The value of {echo(child.key.value)} is a list; a variable holds a text.",
            "Write a string.",
        )
    return None


def _integer(child: Node, reading: Reading) -> str | None:
    written: str = child.value
    if nodes.CANONICAL_INTEGER.fullmatch(written) and len(written) < 21 and -_INT64 <= int(written) < _INT64:
        return written
    _unsafe_number(child, reading, "Compose would write this number in another way.")
    return None


def _unsafe_number(child: Node, reading: Reading, why: str) -> None:
    reading.error(child, "compose.environment_number", why, "Quote it.", (replace(child, child.value),))


def _secret(child: Node, reading: Reading) -> str | SecretName | None:
    if len(child.value) != 1 or child.value[0].key.value != "x-sam-secret":
        reading.error(
            child,
            "compose.environment_value",
            f"The value of {echo(child.key.value)} is a mapping; the only one accepted is `x-sam-secret: NAME`.",
            "Write a string, or {x-sam-secret: NAME}.",
        )
        return None
    name_node = child.value[0]
    if nodes.kind_of(name_node) != "text":
        reading.mismatch(name_node, "the name of a secret")
        return None
    name: str = name_node.value
    if not references.NAME.fullmatch(name):
        reading.error(
            name_node,
            "compose.secret_name",
            f"{echo(name)} is no name of a secret.",
            "Begin with a letter or an underscore; go on with letters, digits, underscores and dashes.",
        )
        return None
    if name.startswith(references.RESERVED_PREFIX):
        _template_fault(name_node, "reserved", reading)
        return None
    return f"${{{name}}}" if _PLAIN_REFERENCE(name) else SecretName(name)


def _referring(node: Node, value: str, reading: Reading) -> str | None:
    if "$" not in value:
        return value
    try:
        return references.normalised(references.template(value))
    except references.TemplateError as error:
        _template_fault(node, error.kind, reading)
        return None


def _template_fault(node: Node, kind: str, reading: Reading) -> None:
    code, message, hint = _TEMPLATE_FAULTS[kind]
    reading.error(node, code, message, hint)

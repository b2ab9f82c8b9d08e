"""Rules: small closures, prepared once, that read one node and answer a value, or None after noting what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from deployments.domain.compose import nodes
from deployments.domain.compose.findings import Findings, Fix, echo, move, remove, replace
from deployments.domain.compose.nearest import nearest
from deployments.domain.compose.nodes import Node

MAX_NEAREST: Final = 50
_FEW_KEYS: Final = 9

Decision = Literal["accepted", "dropped", "rejected"]
_VARIABLE = re.compile(r"\$(\$|[A-Za-z_]|\{)")


class Reading(Findings):
    """The findings of one document, and what its rules share while they read it."""

    __slots__ = ("nearest_left",)

    def __init__(self) -> None:
        super().__init__()
        self.nearest_left = MAX_NEAREST

    def nearest(self, name: str, known: Iterable[str]) -> str | None:
        """The nearest known name, for the first fifty questions of a document: each is a comparison with all."""
        if self.nearest_left <= 0:
            return None
        self.nearest_left -= 1
        return nearest(name, known)


Rule = Callable[[Node, Reading], Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One key of the subset: what is decided about it, the rule that reads it, and what its reader should know.

    `example` is YAML that stands where the key may stand: it parses for an accepted or dropped key, and is refused
    for a rejected one. `refused` is an example that is refused although the key is accepted.
    """

    key: str
    decision: Decision
    rule: Rule
    says: str
    example: str
    hint: str = ""
    code: str = ""
    refused: str = ""
    schema: Mapping[str, Any] = field(default_factory=dict)
    required: bool = False


class Members(dict[str, Any]):
    """The values that a mapping's rules answered, and the nodes they were read from, by key."""

    __slots__ = ("nodes",)
    nodes: dict[str, Node]


def no_members() -> Members:
    """Members of nothing."""
    members = Members()
    members.nodes = {}
    return members


def accepted(
    key: str,
    rule: Rule,
    says: str,
    example: str,
    *,
    refused: str = "",
    schema: Mapping[str, Any],
    required: bool = False,
) -> Row:
    """A key that is read, kept and rendered."""
    return Row(key, "accepted", rule, says, example, refused=refused, schema=schema, required=required)


def dropped(key: str, rule: Rule, says: str, example: str, *, code: str, refused: str = "") -> Row:
    """A key without effect here; its author gets a warning."""
    return Row(key, "dropped", rule, says, example, code=code, refused=refused, schema={})


def rejected(key: str, says: str, example: str, *, hint: str, code: str = "", rule: Rule | None = None) -> Row:
    """A key that is refused for a reason of its own; taking it out is the fix unless `rule` knows better."""
    code = code or f"compose.{key}"
    return Row(key, "rejected", rule or refusal(code, says, hint), says, example, hint=hint, code=code)


def refusal(code: str, says: str, hint: str, *, removable: bool = True) -> Rule:
    """A rule that refuses whatever it is given."""

    def rule(node: Node, reading: Reading) -> None:
        reading.error(node, code, says, hint, (remove(node),) if removable else None, at_key=True)

    return rule


def ignoring(code: str, says: str, hint: str) -> Rule:
    """A rule that drops whatever it is given, with a warning."""

    def rule(node: Node, reading: Reading) -> None:
        if nodes.is_null(node):
            reading.null(node)
        else:
            reading.warning(node, code, says, hint, at_key=True)

    return rule


def text(node: Node, reading: Reading) -> str | None:
    """A string, with `$$` read as a dollar and variables refused.

    A number or boolean is refused and read on as the text that it will be once it is quoted, so that whatever else is
    wrong with it shows in the same answer.
    """
    if type(node) is not nodes.Scalar:
        reading.mismatch(node, "a string")
        return None
    value: str = node.value
    if not node.style and nodes.kind_of_plain(value) != "text":
        reading.mismatch(node, "a string")
        return None if nodes.is_null(node) else value
    return literal(node, value, reading) if "$" in value else value


def literal(node: Node, value: str, reading: Reading) -> str:
    """What Compose makes of a text without variables: `$$` is a dollar, `$NAME` and `${` are refused."""
    variable = False

    def unescaped(match: re.Match[str]) -> str:
        nonlocal variable
        if match.group(1) == "$":
            return "$"
        variable = True
        return match.group()

    read = _VARIABLE.sub(unescaped, value)
    if not variable:
        return read
    reading.error(
        node,
        "compose.variable",
        "Compose would replace this variable; here only `environment` refers to variables and secrets.",
        "Double the dollar if it is meant as it stands.",
        (replace(node, doubled(value)),),
    )
    return read  # as it will be once the dollar is doubled, so that its other faults show in the same answer


def doubled(value: str) -> str:
    """The text with the dollar of each variable doubled, so that Compose reads it as it stands."""
    return _VARIABLE.sub(lambda match: "$$" if match.group(1) == "$" else f"${match.group()}", value)


def matching(pattern: str, wanted: str, *, code: str = "compose.value") -> Rule:
    """A string of one form; `wanted` completes "Expected ..."."""
    fits = re.compile(pattern, re.ASCII).fullmatch

    def rule(node: Node, reading: Reading) -> str | None:
        value = text(node, reading)
        if value is not None and not fits(value):
            reading.error(node, code, f"Expected {wanted}, found {echo(value)}.", f"Write {wanted}.")
            return None
        return value

    return rule


def one_of(*choices: str) -> Rule:
    """One of a few words."""
    wanted = " or ".join(f"`{choice}`" for choice in choices)

    def rule(node: Node, reading: Reading) -> str | None:
        value = text(node, reading)
        if value is None or value in choices:
            return value
        meant = reading.nearest(value, choices)
        reading.error(
            node,
            "compose.value",
            f"Expected {wanted}, found {echo(value)}.",
            f"Write {wanted}.",
            (replace(node, meant),) if meant else None,
        )
        return None

    return rule


def boolean(node: Node, reading: Reading) -> bool | None:
    """`true` or `false`, unquoted."""
    if type(node) is nodes.Scalar:
        value = nodes.BOOLEAN_WORDS.get(node.value)
        if value is not None:
            if not node.style:
                return value
            reading.error(
                node,
                "compose.type",
                "Expected true or false, found a string.",
                "Remove the quotes.",
                (replace(node, value),),
            )
            return None
    reading.mismatch(node, "true or false")
    return None


def integer(minimum: int, maximum: int, wanted: str) -> Rule:
    """A whole number within bounds, as a number or as its canonical text; `wanted` completes "Expected ..."."""

    def rule(node: Node, reading: Reading) -> int | None:
        value = whole_number(node)
        if value is None:
            reading.mismatch(node, wanted)
            return None
        if not minimum <= value <= maximum:
            reading.error(
                node,
                "compose.range",
                f"Expected {wanted}, found {echo(node.value)}.",
                f"Write a number from {minimum:,} to {maximum:,}.",
            )
            return None
        return value

    return rule


def whole_number(node: Node) -> int | None:
    """The value of a canonical decimal integer, plain or quoted; None for anything else."""
    if type(node) is nodes.Scalar and len(node.value) < 20 and nodes.CANONICAL_INTEGER.fullmatch(node.value):
        return int(node.value)
    return None


def listing(item: Rule, wanted: str) -> Rule:
    """A list, each item read by `item`; the good ones as a tuple."""

    def rule(node: Node, reading: Reading) -> tuple[Any, ...] | None:
        if type(node) is not nodes.Sequence:
            reading.mismatch(node, wanted)
            return None
        values = [item(value, reading) for value in node.value]
        return tuple([value for value in values if value is not None])

    return rule


def distinct(rule: Rule) -> Rule:
    """The rule's list without repetitions, sorted: for lists whose order and repetition mean nothing."""

    def sorted_rule(node: Node, reading: Reading) -> tuple[Any, ...] | None:
        values = rule(node, reading)
        return None if values is None else tuple(sorted(set(values)))

    return sorted_rule


def mapping(rows: Sequence[Row], what: str, *, nullable: bool = False) -> Rule:
    """A mapping whose keys are rows. Answers Members; `what` names the mapping in messages ("a service")."""
    table = {row.key: row for row in rows}
    prepared = {row.key: (row.rule, row.required) for row in rows}
    required = tuple(row.key for row in rows if row.required)

    def rule(node: Node, reading: Reading) -> Members | None:
        members = Members()
        at: dict[str, Node] = {}
        members.nodes = at
        if type(node) is not nodes.Mapping:
            if nullable and nodes.is_null(node):
                return members
            reading.mismatch(node, f"a mapping ({what})")
            return None
        for child in node.value:
            key = child.key.value
            found = prepared.get(key)
            if found is None:
                row = _unknown(node, child, table, what, reading, at)
                if row is None:
                    continue
                key = row.key
                found = prepared[key]
            at[key] = child
            read, needed = found
            if needed and nodes.is_null(child):
                reading.null(child, removable=False)
                continue
            value = read(child, reading)
            if value is not None:
                members[key] = value
        for key in required:
            if key not in at:
                missing(node, key, what, reading)
        return members

    return rule


def missing(node: Node, key: str, what: str, reading: Reading) -> None:
    """Note that a mapping lacks a key that it needs."""
    reading.error(
        node, "compose.missing", f"`{key}` is missing from {what}.", f"Add `{key}`.", at_key=hasattr(node, "key")
    )


def _unknown(
    node: Node, child: Node, table: Mapping[str, Row], what: str, reading: Reading, at: Mapping[str, Node]
) -> Row | None:
    """Note a key that the table does not have. Answers the row that it was meant for, if any, to read its value by."""
    key: str = child.key.value
    if key.startswith("x-") and not key.startswith("x-sam-"):
        extension(child, reading)
        return None
    if key_already_noted(child):
        return None
    asked = reading.nearest_left > 0
    if not asked and reading.enough():
        return None
    meant = reading.nearest(key, table)
    row = table[meant] if meant else None
    if row is None or row.decision == "rejected":
        also = f" `{row.key}` is refused too: {row.says}" if row else ""
        fix: Fix = (remove(child),) if asked else None
        reading.error(
            child,
            "compose.unknown_key",
            f"{echo(key)} is no key of {what}.{also}",
            _known(table, what),
            fix,
            at_key=True,
        )
        return None
    taken = row.key in at or nodes.child(node, row.key) is not None
    reading.error(
        child,
        "compose.unknown_key",
        f"{echo(key)} is no key of {what}; `{row.key}` is.",
        f"Remove it: `{row.key}` is there too." if taken else f"Write `{row.key}`.",
        (remove(child),) if taken else (move(child, node, row.key),),
        at_key=True,
    )
    return None if taken else row


def _known(table: Mapping[str, Row], what: str) -> str:
    """The hint for a key that resembles none: all there are, where they are few."""
    accepted_keys = [f"`{name}`" for name, row in table.items() if row.decision == "accepted"]
    if len(accepted_keys) > _FEW_KEYS:
        return "Remove it."
    return f"Remove it. {what[0].upper()}{what[1:]} takes {', '.join(accepted_keys)}."


def extension(child: Node, reading: Reading) -> None:
    """Drop an extension of somebody else, with a warning."""
    reading.warning(
        child,
        "compose.extension",
        f"{echo(child.key.value)} means nothing here and is dropped.",
        "Remove it, or leave it for other readers of the file.",
        at_key=True,
    )


def key_already_noted(child: Node) -> bool:
    """True if the loader refused the key itself, so that a second complaint about it would only be noise."""
    key = child.key
    return not key.style and (
        key.value == "<<" or nodes.kind_of_plain(key.value) != "text" or nodes.ambiguous(key.value)
    )

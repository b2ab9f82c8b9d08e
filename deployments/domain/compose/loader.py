"""The loader: bytes to a tree of libyaml's events with marks, inside every bound. Linear, and silent about nothing.

`yaml.load` and `yaml.compose` are never used on foreign input: fifty kilobytes of `[` kill the process there, and a
few merge keys burn seconds. Here a start event is the collection, depth and number are checked at each event, and
nothing recurses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from yaml import MarkedYAMLError, YAMLError
from yaml._yaml import CParser
from yaml.events import (
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)

from deployments.domain.compose import characters, nodes
from deployments.domain.compose.findings import MAX_PROBLEMS, Findings, echo, replace
from deployments.domain.compose.nodes import Node

MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 16
MAX_NODES: Final = 5000
MAX_SCALAR_BYTES: Final = 16 * 1024

_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Tree:
    """What was read. `root` is None if there is nothing to point into; `whole` is False if reading stopped early."""

    root: Node | None
    whole: bool


def read(document: bytes, findings: Findings) -> Tree:
    """Read one document. Every fault of form is noted in `findings`; nothing is raised for any input."""
    text = _text(document, findings)
    if text is None:
        return Tree(None, whole=False)
    if not characters.raw_is_clean(document, text):
        _note_raw_characters(text, findings)
        if _scanner_would_stop(text):
            return Tree(None, whole=False)
    return _Reader(document, text, findings).read()


def _text(document: bytes, findings: Findings) -> str | None:
    if len(document) > MAX_BYTES:
        findings.error(
            nodes.marker(0, 0),
            "compose.too_long",
            f"The document has {len(document):,} bytes; at most {MAX_BYTES:,} are read.",
            "Move long texts out of the file, into the image.",
        )
        return None
    if document.startswith(_BOM):
        findings.error(
            nodes.marker(0, 0),
            "compose.byte_order_mark",
            "The document begins with a byte order mark.",
            "Save it as UTF-8 without a byte order mark.",
        )
        document = document[len(_BOM) :]
    try:
        return document.decode("utf-8")
    except UnicodeDecodeError as error:
        before = document[: error.start].decode("utf-8")
        findings.error(
            _marker_after(before),
            "compose.encoding",
            "This byte is not UTF-8.",
            "Save the document as UTF-8.",
        )
        return None


def _marker_after(before: str) -> Node:
    return nodes.marker(before.count("\n"), len(before) - before.rfind("\n") - 1)


def _note_raw_characters(text: str, findings: Findings) -> None:
    """One problem per refused character, with places counted in one pass; past two hundred they are only counted."""
    line, line_start, seen = 0, 0, 0
    for match in characters.RAW.finditer(text):
        if len(findings.errors) >= MAX_PROBLEMS:
            findings.left_out += len(characters.RAW.findall(text, match.start()))
            break
        at = match.start()
        line += text.count("\n", seen, at)
        newline = text.rfind("\n", line_start, at)
        line_start = newline + 1 if newline >= 0 else line_start
        seen = at
        findings.error(
            nodes.marker(line, at - line_start),
            "compose.character",
            f"The character {characters.name_of(match.group())} is not accepted.",
            "Remove it, or write it as an escape in double quotes where that is accepted.",
        )


def _scanner_would_stop(text: str) -> bool:
    """True if libyaml refuses the text for its characters, or would count its lines otherwise than editors do."""
    return _UNREADABLE.search(text) is not None


_UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]|\r(?!\n)")


class _Reader:
    """One reading. The state is a stack of open collections; a key waits until its value comes."""

    def __init__(self, document: bytes, text: str, findings: Findings) -> None:
        self._parser = CParser(document)
        self._findings = findings
        self._escapes = "\\" in text
        self._marked = "!" in text or "&" in text
        self._long = len(text) > 4096
        self._root: Node | None = None

    def read(self) -> Tree:
        """Read to the end of the first document, or to the first thing that stops the reading."""
        try:
            whole = self._open() and self._fill() and self._close()
        except MarkedYAMLError as error:
            whole = self._syntax(error)
        except (YAMLError, ValueError):  # a reader's error without a mark; an escape in a tag that is no UTF-8
            whole = self._unreadable()
        if self._root is None and whole:
            self._empty()
            whole = False
        return Tree(self._root, whole)

    def _open(self) -> bool:
        get_event: Any = self._parser.get_event
        get_event()  # the stream's start
        event = get_event()
        if type(event) is StreamEndEvent:
            self._empty()
            return False
        self._directives(event)
        return True

    def _close(self) -> bool:
        get_event: Any = self._parser.get_event
        get_event()  # the document's end
        event = get_event()
        if type(event) is DocumentStartEvent:
            self._findings.error(
                event,
                "compose.second_document",
                "A second document begins here.",
                "Send one document; what belongs together stands in one file.",
            )
        return True

    def _directives(self, event: DocumentStartEvent) -> None:
        if event.version or event.tags:
            self._findings.error(
                event,
                "compose.directive",
                "Directives (lines that begin with %) are not accepted.",
                "Remove the line.",
            )

    def _empty(self) -> None:
        self._findings.error(
            nodes.marker(0, 0),
            "compose.empty",
            "The document is empty.",
            "A Compose file has `services`, with at least one service.",
        )

    def _syntax(self, error: MarkedYAMLError) -> bool:
        mark = error.problem_mark or error.context_mark
        marker = nodes.marker(mark.line, mark.column) if mark else nodes.marker(0, 0)
        said = " ".join(part for part in (error.problem, error.context) if part)
        self._findings.error(marker, "compose.syntax", f"This is not YAML: {said}.", _syntax_hint(said))
        return False

    def _unreadable(self) -> bool:
        self._findings.error(
            self._root or nodes.marker(0, 0),
            "compose.syntax",
            "This is not YAML: a tag holds an escape that is no text.",
            "Remove the tag.",
        )
        return False

    def _fill(self) -> bool:
        """Read events until the root is complete. False if a bound stops the reading.

        The one long function of the loader: it runs for every node, and a call costs as much as a step of it. What most
        documents cannot have (a tag, an anchor, an escape, a long value) is asked of the document first, once.
        """
        get_event: Any = self._parser.get_event
        scalar, mapping, sequence, maximum = ScalarEvent, MappingStartEvent, SequenceStartEvent, MAX_NODES
        numeric_first, word_first, longest_word = nodes.NUMERIC_FIRST, nodes.WORD_FIRST, nodes.LONGEST_WORD
        marked, escapes, long = self._marked, self._escapes, self._long
        stack: list[tuple[list[Node], set[str] | None, Node]] = []  # what is open around the current collection
        items: list[Node] = []  # the current collection's children
        names: set[str] | None = None  # its keys so far, where it is a mapping
        key: Node = None  # the key that waits for its value
        count = 0
        while True:
            event = get_event()
            kind = type(event)
            if kind is scalar:
                value = event.value
                if not event.style:
                    first = value[:1]
                    if first in numeric_first or (first in word_first and len(value) <= longest_word):
                        self._inspect_plain(event, is_key=names is not None and key is None)
                elif escapes and event.style == '"' and characters.UNESCAPED.search(value):
                    self._note_escaped(event)
                if marked and (event.tag or event.anchor):
                    self._inspect(event)
                if long and len(value) > 4096 and len(value.encode()) > MAX_SCALAR_BYTES:
                    self._too_long(event)
            elif kind is mapping or kind is sequence:
                event.value = []
                if marked and (event.tag or event.anchor):
                    self._inspect(event)
            elif kind is MappingEndEvent or kind is SequenceEndEvent:
                items, names, key = stack.pop()
                if not stack:
                    return True
                continue
            else:
                self._alias(event)

            count += 1
            if count > maximum:
                return self._too_many(event)

            if names is None:
                items.append(event)
            elif key is None:
                key = event
                if kind is scalar:
                    if value in names:
                        self._duplicate(event)
                    names.add(value)
                    continue
                self._complex_key(event)
            else:
                if type(key) is scalar:
                    event.key = key
                    items.append(event)
                key = None

            if kind is mapping or kind is sequence:
                if not stack:
                    self._root = event
                elif len(stack) + 1 == MAX_DEPTH:
                    count = self._skip(count)
                    if count > MAX_NODES:
                        return self._too_many(event)
                    continue
                stack.append((items, names, key))
                items = event.value
                names = set() if kind is mapping else None
                key = None
            elif not stack:
                self._root = event
                return True

    def _skip(self, count: int) -> int:
        """Pass over what lies in a collection at the last depth, and say so once. Answers the nodes seen so far."""
        get_event: Any = self._parser.get_event
        depth, noted = 1, False
        while depth and count <= MAX_NODES:
            event = get_event()
            kind = type(event)
            if kind is MappingEndEvent or kind is SequenceEndEvent:
                depth -= 1
                continue
            count += 1
            if kind is MappingStartEvent or kind is SequenceStartEvent:
                depth += 1
            if not noted:
                noted = True
                self._findings.error(
                    event,
                    "compose.too_deep",
                    f"This lies more than {MAX_DEPTH} levels deep.",
                    "Nothing in a Compose file needs that depth; check the indentation.",
                )
        return count

    def _inspect_plain(self, event: Node, *, is_key: bool) -> None:
        """Note a plain scalar that is ambiguous, or a key that is no string."""
        if is_key:
            self._key(event)
        elif not event.tag and nodes.ambiguous(event.value) and not self._findings.enough():
            self._findings.error(
                event,
                "compose.ambiguous",
                "YAML 1.1 and YAML 1.2 read this plain value differently.",
                "Quote it.",
                (replace(event, event.value),),
            )

    def _inspect(self, event: Node) -> None:
        """Note an anchor and a tag."""
        if event.anchor and not self._findings.enough():
            self._findings.error(
                event,
                "compose.anchor",
                "Anchors are not accepted: one node would stand in several places.",
                "Write the value out where it is needed.",
            )
        if event.tag:
            self._tag(event)

    def _key(self, event: Node) -> None:
        text = event.value
        if text == "<<":
            self._findings.error(
                event,
                "compose.merge_key",
                "Merge keys (`<<`) are not accepted.",
                "Write the merged keys out.",
            )
        elif (nodes.kind_of_plain(text) != "text" or nodes.ambiguous(text)) and not self._findings.enough():
            self._findings.error(
                event,
                "compose.key_type",
                f"The key {echo(text)} is not a string in every version of YAML.",
                "Quote it.",
            )

    def _tag(self, event: Node) -> None:
        fix = None
        if type(event) is ScalarEvent and event.tag in ("!", "tag:yaml.org,2002:str"):
            fix = (replace(event, event.value),)
            event.style = event.style or '"'  # from here on it is the string that it says it is
        if self._findings.enough():
            return
        self._findings.error(
            event,
            "compose.tag",
            "Explicit tags (`!...`) are not accepted.",
            "Remove the tag; quote what is meant as a string.",
            fix,
        )

    def _alias(self, event: Node) -> None:
        if self._findings.enough():
            return
        self._findings.error(
            event,
            "compose.alias",
            f"Aliases (`*{event.anchor}`) are not accepted." if len(event.anchor) < 40 else "Aliases are not accepted.",
            "Write the value out where it is needed.",
        )

    def _duplicate(self, event: Node) -> None:
        if self._findings.enough():
            return
        self._findings.error(
            event,
            "compose.duplicate_key",
            f"The key {echo(event.value)} stands here a second time.",
            "Keep one of the two; no reader agrees with another on which one counts.",
        )

    def _complex_key(self, event: Node) -> None:
        if self._findings.enough():
            return
        self._findings.error(
            event,
            "compose.key_type",
            "A key is a string, not a list, a mapping or an alias.",
            "Write the key as a string.",
        )

    def _too_long(self, event: Node) -> None:
        self._findings.error(
            event,
            "compose.scalar_too_long",
            f"This value has more than {MAX_SCALAR_BYTES:,} bytes.",
            "Move long texts out of the file, into the image.",
        )

    def _too_many(self, event: Node) -> bool:
        self._findings.error(
            event,
            "compose.too_many_nodes",
            f"The document has more than {MAX_NODES:,} keys and values; reading stopped here.",
            "Split what does not belong together, or move tables into the image.",
        )
        return False

    def _note_escaped(self, event: Node) -> None:
        found = characters.UNESCAPED.search(event.value)
        name = characters.name_of(found.group()) if found else ""
        self._findings.error(
            event,
            "compose.character",
            f"The character {name}, written as an escape, is not accepted.",
            "Remove it.",
        )


_HINTS = (
    ("tab", "Indent with spaces; YAML takes no tabs there."),
    ("\\t", "Indent with spaces; YAML takes no tabs there."),
    (
        "mapping values are not allowed",
        "Quote the value if it contains a colon and a space; else check the indentation.",
    ),
    ("cannot start any token", "Quote the value: it begins with a character that YAML keeps for itself."),
    ("could not find expected ':'", "Write a colon and a space after the key, or check the indentation."),
    ("escape", "In double quotes a backslash begins an escape; write two, or use single quotes."),
    ("quoted scalar", "Close the quotes."),
    ("expected ',' or", "Close the brackets, and put commas between what is in them."),
    ("alias", "Write the value out where it is needed."),
    ("directive", "Remove the line that begins with %."),
)


def _syntax_hint(said: str) -> str:
    return next((hint for part, hint in _HINTS if part in said), "Check the indentation and the quotes around here.")

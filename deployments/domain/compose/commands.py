"""Commands: lists of words, and strings split the way Compose splits them."""

from __future__ import annotations

from deployments.domain.compose import nodes
from deployments.domain.compose.findings import replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading, listing, text

_SPACES = " \t\r\n"
_words = listing(text, "a list of strings")


class SplitError(ValueError):
    """A string that Compose would not split, or would cut; `kind` is cut, quotes or parenthesis."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def command(node: Node, reading: Reading) -> tuple[str, ...] | None:
    """A command or entrypoint. Null says nothing; `[]` and `""` clear what the image has."""
    if nodes.is_null(node):
        return None
    if type(node) is nodes.Sequence:
        words: tuple[str, ...] | None = _words(node, reading)
        return words
    written = text(node, reading)
    if written is None:
        return None
    try:
        return split(written)
    except SplitError as error:
        _refuse(node, error.kind, reading)
        return None


def _refuse(node: Node, kind: str, reading: Reading) -> None:
    if kind == "cut":
        reading.error(
            node,
            "compose.shell_syntax",
            "Compose cuts a command at an unquoted `;`, `&`, `|`, `<` or `>` without a word; no shell reads it.",
            "Call the shell yourself, or quote the character.",
            (replace(node, ["sh", "-c", node.value]),),
        )
    else:
        reading.error(
            node,
            "compose.command_quotes",
            "The quotes or parentheses of this command do not match.",
            "Close them, or write the command as a list of strings.",
        )


def split(line: str) -> tuple[str, ...]:
    """The words of a command line as github.com/mattn/go-shellwords makes them, which Compose uses.

    Not a POSIX shell: outside single quotes a backslash takes the next character as it is, there are no variables, and
    `$(...)` and backquotes only keep spaces together. Raises SplitError.
    """
    words: list[str] = []
    word: list[str] = []
    begun = escaped = double = single = back = dollar = False
    for letter in line:
        if escaped:
            word.append(letter)
            escaped, begun = False, True
            continue
        if letter == "\\":
            if single:
                word.append(letter)
            else:
                escaped = True
            continue
        if letter in _SPACES:
            if single or double or back or dollar:
                word.append(letter)
            elif begun:
                words.append("".join(word))
                word, begun = [], False
            continue
        if letter == "`":
            if not (single or double or dollar):
                back = not back
        elif letter == ")":
            if not (single or double or back):
                dollar = not dollar
        elif letter == "(":
            if not (single or double or back):
                if dollar or not word or word[-1] != "$":
                    raise SplitError("parenthesis")
                dollar = True
                word.append("(")
                continue
        elif letter == '"':
            if not (single or dollar):
                begun = begun or double
                double = not double
                continue
        elif letter == "'":
            if not (double or dollar):
                begun = begun or single
                single = not single
                continue
        elif letter in ";&|<>" and not (single or double or back or dollar):
            raise SplitError("cut")
        word.append(letter)
        begun = True
    if begun:
        words.append("".join(word))
    if escaped or single or double or back or dollar:
        raise SplitError("quotes")
    return tuple(words)

"""The two commands that need no server: `compose_check` and `render`. Imports no Django."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final
from uuid import UUID

from deployments.domain import compose, images, manifest, renderer
from deployments.domain.compose import Parsed
from deployments.domain.compose.json_loader import MAX_BYTES as MAX_JSON_BYTES
from deployments.domain.manifest import UnresolvedError
from deployments.domain.problems import Problem

DONE, REFUSED, USAGE = 0, 1, 2
# More than any door reads, so that what is longer is refused by the door, with its own code.
MAX_READ_BYTES: Final = MAX_JSON_BYTES + 1
CHECK_USAGE: Final = "usage: manage.py compose_check FILE|- [--json]\n       manage.py compose_check --ndjson"
RENDER_USAGE: Final = "usage: manage.py render FILE|- --environment-id ID [--digests FILE]"


class UsageError(Exception):
    """The command was not written as it is; the message is what the user reads."""


def main(argv: Sequence[str]) -> int:
    """Run `compose_check` or `render` (the first word). Answers the exit status: 0 accepted, 1 refused, 2 usage."""
    try:
        return COMMANDS[argv[0]](argv[1:])
    except UsageError as error:
        _complain(str(error))
        return USAGE
    except BrokenPipeError:
        # Whoever read the answer has gone; let the interpreter's own flush at the end find nothing to complain about.
        sys.stdout = None
        return REFUSED


def compose_check(arguments: Sequence[str]) -> int:
    """Parse and validate one file, or one file per line of standard input."""
    files, options = _split(arguments, flags=("--json", "--ndjson"), valued=(), usage=CHECK_USAGE)
    if "--ndjson" in options:
        if files not in ([], ["-"]):
            raise UsageError(CHECK_USAGE)
        return _check_lines(sys.stdin.buffer, sys.stdout.buffer)
    parsed = compose.parse(_read(_only(files, CHECK_USAGE)))
    if "--json" in options:
        _say(json.dumps(answer(parsed), ensure_ascii=False))
    else:
        _tell(parsed, files[0])
    return DONE if parsed.manifest is not None else REFUSED


def render(arguments: Sequence[str]) -> int:
    """Print the Compose file that a node would get as release 1."""
    files, options = _split(arguments, flags=(), valued=("--environment-id", "--digests"), usage=RENDER_USAGE)
    environment_id = _environment_id(options)
    digests = _digests(options.get("--digests"))
    document = _read(_only(files, RENDER_USAGE))
    parsed = manifest.from_json(document) if _is_manifest(document) else compose.parse(document)
    if parsed.manifest is None:
        _tell(parsed, files[0], out=_complain)
        return REFUSED
    try:
        pinned = manifest.pin(parsed.manifest, digests)
    except (UnresolvedError, images.ImageReferenceError) as error:
        _complain(f"image.unresolved: {error}")
        return REFUSED
    sys.stdout.buffer.write(renderer.render(pinned, environment_id=environment_id, sequence=1))
    sys.stdout.buffer.flush()
    return DONE


COMMANDS: Final[Mapping[str, Callable[[Sequence[str]], int]]] = {"compose_check": compose_check, "render": render}


def answer(parsed: Parsed) -> dict[str, Any]:
    """The object of `compose_check --json`, which every door answers."""
    return {
        "ok": parsed.manifest is not None,
        "manifest": None if parsed.manifest is None else manifest.to_json(parsed.manifest),
        "problems": [problem.as_json() for problem in parsed.problems],
        "warnings": [problem.as_json() for problem in parsed.warnings],
    }


def _check_lines(lines: BinaryIO, out: BinaryIO) -> int:
    """One `{"id","yaml"}` per line in, one answer per line out, flushed. A line that is none of that is usage."""
    accepted = True
    for line in lines:
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            document = request["yaml"].encode("utf-8", "surrogatepass")
            identity = request["id"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UsageError('Each line is a JSON object {"id": ..., "yaml": "..."}.') from error
        parsed = compose.parse(document)
        accepted = accepted and parsed.manifest is not None
        found = {"id": identity, **answer(parsed)}
        out.write(json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        out.flush()
    return DONE if accepted else REFUSED


def _split(
    arguments: Sequence[str], *, flags: tuple[str, ...], valued: tuple[str, ...], usage: str
) -> tuple[list[str], dict[str, str]]:
    """Files and options, in any order, `--option value` or `--option=value`."""
    files: list[str] = []
    options: dict[str, str] = {}
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word in flags:
            options[word] = ""
        elif name in valued and (equals or waiting):
            options[name] = value if equals else waiting.pop(0)
        elif word in ("-h", "--help"):
            raise UsageError(usage)
        elif word.startswith("-") and word != "-":
            raise UsageError(f"There is no option {name}.\n{usage}")
        else:
            files.append(word)
    return files, options


def _only(files: list[str], usage: str) -> str:
    if len(files) != 1:
        raise UsageError(usage)
    return files[0]


def _read(name: str) -> bytes:
    try:
        if name == "-":
            return sys.stdin.buffer.read(MAX_READ_BYTES)
        with Path(name).open("rb") as file:
            return file.read(MAX_READ_BYTES)
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror}.") from error


def _environment_id(options: Mapping[str, str]) -> str:
    text = options.get("--environment-id", "")
    try:
        return str(UUID(text))
    except ValueError as error:
        raise UsageError(f"--environment-id takes the id of an environment, a UUID.\n{RENDER_USAGE}") from error


def _digests(name: str | None) -> dict[str, str]:
    if name is None:
        return {}
    try:
        digests = json.loads(_read(name))
    except ValueError as error:
        raise UsageError(f"{name} is not JSON: {error}.") from error
    if not isinstance(digests, dict) or not all(isinstance(value, str) for value in digests.values()):
        raise UsageError(f"{name} is no JSON object of image references to digests.")
    return digests


def _is_manifest(document: bytes) -> bool:
    """True for a JSON object with a member `v`; a Compose file in JSON has none."""
    if document.lstrip()[:1] != b"{":
        return False
    try:
        read = json.loads(document)
    except (ValueError, RecursionError):
        return False
    return isinstance(read, dict) and "v" in read


def _tell(parsed: Parsed, name: str, out: Callable[[str], None] | None = None) -> None:
    say = out or _say
    for problem in sorted([*parsed.problems, *parsed.warnings], key=lambda each: (each.line or 0, each.column or 0)):
        say(_line(problem, name))
    if parsed.manifest is not None:
        say(f"{name}: accepted, {manifest.digest(parsed.manifest)}")
    else:
        fixable = sum(problem.fix is not None for problem in parsed.problems)
        say(f"{name}: refused, {_count(len(parsed.problems), 'error')}, {fixable} with a fix (--json shows it)")


def _line(problem: Problem, name: str) -> str:
    place = f"{name}:{problem.line}:{problem.column}"
    return f"{place}: {problem.severity}: {problem.message} {problem.hint} [{problem.code}]"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _say(text: str) -> None:
    sys.stdout.buffer.write(text.encode("utf-8", "surrogatepass") + b"\n")
    sys.stdout.buffer.flush()


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")

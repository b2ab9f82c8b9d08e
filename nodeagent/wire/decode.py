"""One small strict decoder from JSON bytes to frozen dataclasses, and the way back.

Strict means: UTF-8 without byte order mark, no duplicate members, exactly the members of the class, integers that are
integers and strings that are strings, everything bounded. It needs nothing but the standard library, since it runs on
foreign machines.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union

from . import base64text
from .errors import WireError

Message = TypeVar("Message")
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
MAX_INTEGER = 2**53 - 1  # RFC 8785, section 3.2.2.3: beyond it JSON readers disagree
MAX_DEPTH = 32


@dataclasses.dataclass(frozen=True, slots=True)
class Text:
    """A string of at most `max_length` characters that matches `pattern` in full, if there is one."""

    max_length: int = 4096
    pattern: str | None = None

    def problem(self, value: Any) -> str | None:
        """What is wrong with this string, or None."""
        if len(value) > self.max_length:
            return f"The text is longer than {self.max_length} characters"
        if self.pattern is not None and not re.fullmatch(self.pattern, value, re.ASCII):
            return f"The text does not match {self.pattern}"
        return None


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """An integer from `low` to `high`, both included."""

    low: int = 0
    high: int = MAX_INTEGER

    def problem(self, value: Any) -> str | None:
        """What is wrong with this integer, or None."""
        return None if self.low <= value <= self.high else f"The number is not between {self.low} and {self.high}"


@dataclasses.dataclass(frozen=True, slots=True)
class Base64:
    """Canonical base64 of exactly `length` bytes, or of at most `max_bytes`."""

    length: int | None = None
    max_bytes: int = MAX_MESSAGE_BYTES

    def problem(self, value: Any) -> str | None:
        """What is wrong with this text, or None."""
        try:
            content = base64text.to_bytes(value)
        except WireError as error:
            return error.why
        if self.length is not None and len(content) != self.length:
            return f"The base64 does not hold {self.length} bytes"
        return None if len(content) <= self.max_bytes else f"The base64 holds more than {self.max_bytes} bytes"


@dataclasses.dataclass(frozen=True, slots=True)
class Items:
    """An array or object of at most `maximum` members."""

    maximum: int

    def problem(self, value: Any) -> str | None:
        """What is wrong with this collection, or None."""
        return None if len(value) <= self.maximum else f"There are more than {self.maximum} members"


UUID = Annotated[str, Text(36, r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")]
Digest = Annotated[str, Text(71, r"sha256:[0-9a-f]{64}")]
OptionalDigest = Annotated[str, Text(71, r"(sha256:[0-9a-f]{64})?")]
KeyId = Annotated[str, Text(16, r"[0-9a-f]{16}")]
Key = Annotated[str, Base64(32)]
Signature = Annotated[str, Base64(64)]
Name = Annotated[str, Text(64, r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")]
Moment = Annotated[str, Text(40, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")]
Count = Annotated[int, Between()]
Ordinal = Annotated[int, Between(1)]
Line = Annotated[str, Text(4096)]
Nonce = Annotated[str, Text(64, r"[A-Za-z0-9_-]{16,64}")]


def decode(cls: type[Message], raw: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> Message:
    """The message in these bytes.

    Raises WireError with the code `wire.size`, `wire.encoding`, `wire.syntax`, `wire.duplicate`, `wire.members`,
    `wire.type`, `wire.value` or `wire.base64`; never with anything of what the bytes said.
    """
    return typing.cast(Message, read(cls, load(raw, max_bytes=max_bytes), ""))


def load(raw: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> Any:
    """The JSON value in these bytes, read strictly but not yet compared with a shape. Raises WireError."""
    if len(raw) > max_bytes:
        raise WireError("wire.size", f"There are more than {max_bytes} bytes")
    text = _text(raw)
    try:
        return json.loads(
            text,
            object_pairs_hook=_members,
            parse_int=_integer,
            parse_float=_no_float,
            parse_constant=_no_float,
        )
    except (ValueError, RecursionError):
        # Not chained: JSONDecodeError carries the whole document, which may be the plaintext of secrets.
        raise WireError("wire.syntax", "The bytes are not JSON") from None


def encode(message: Any) -> bytes:
    """Compact JSON with sorted members. Sign and store these bytes; nobody serialises again to verify."""
    plain = _plain(message)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _text(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise WireError("wire.encoding", "There is a byte order mark")
    try:
        return raw.decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise WireError("wire.encoding", "The bytes are not UTF-8") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise WireError("wire.duplicate", "An object has the same member twice")
    return members


def _integer(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise WireError("wire.value", f"A number is beyond {MAX_INTEGER}")
    return int(digits)


def _no_float(_: str) -> float:
    raise WireError("wire.type", "A number is not an integer")


def read(kind: Any, value: Any, where: str = "") -> Any:
    """One loaded JSON value as the type that an annotation names. Raises WireError as `decode` does."""
    if where.count("/") > MAX_DEPTH:
        raise WireError("wire.value", "The message is too deep", where)
    origin = typing.get_origin(kind)
    reader = _READERS.get(kind) if isinstance(kind, type) else _GENERIC.get(origin)
    if reader is not None:
        return reader(kind, value, where)
    if dataclasses.is_dataclass(kind):
        return _read_message(typing.cast(type, kind), value, where)
    raise TypeError(f"No wire form for {kind!r}")


def _read_message(cls: type, value: Any, where: str) -> Any:
    fields = _fields(cls)
    if not isinstance(value, dict):
        raise WireError("wire.type", "An object is expected", where)
    if value.keys() != fields.keys():
        missing = sorted(fields.keys() - value.keys())
        # Unknown names are not repeated: they come from outside.
        problem = f"Members are missing: {', '.join(missing)}" if missing else "There are unknown members"
        raise WireError("wire.members", problem, where)
    return cls(**{name: read(kind, value[name], f"{where}/{name}") for name, kind in fields.items()})


@functools.cache
def _fields(cls: type) -> Mapping[str, Any]:
    hints = typing.get_type_hints(cls, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def _read_text(_: Any, value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise WireError("wire.type", "A string is expected", where)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise WireError("wire.value", "The text holds half a surrogate pair", where)
    return value


def _read_integer(_: Any, value: Any, where: str) -> int:
    if type(value) is not int:  # a bool is an int to isinstance
        raise WireError("wire.type", "An integer is expected", where)
    return value


def _read_bool(_: Any, value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise WireError("wire.type", "true or false is expected", where)
    return value


def _read_none(_: Any, value: Any, where: str) -> None:
    if value is not None:
        raise WireError("wire.type", "null is expected", where)


def _read_annotated(kind: Any, value: Any, where: str) -> Any:
    base, *limits = typing.get_args(kind)
    answer = read(base, value, where)
    for limit in limits:
        problem = limit.problem(answer)
        if problem is not None:
            raise WireError("wire.value", problem, where)
    return answer


def _read_union(kind: Any, value: Any, where: str) -> Any:
    """Of several shapes of an object, the one whose members are there; None only where it is an option."""
    options = typing.get_args(kind)
    if value is None and types.NoneType in options:
        return None
    present = [option for option in options if option is not types.NoneType]
    if len(present) > 1 and isinstance(value, dict):
        present = [option for option in present if _fields(option).keys() == value.keys()] or present
    return read(present[0], value, where)


def _read_literal(kind: Any, value: Any, where: str) -> Any:
    allowed = typing.get_args(kind)
    if not any(type(value) is type(option) and value == option for option in allowed):
        raise WireError("wire.value", f"Only {', '.join(map(str, allowed))} is allowed", where)
    return value


def _read_array(kind: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise WireError("wire.type", "An array is expected", where)
    member = typing.get_args(kind)[0]
    return tuple(read(member, each, f"{where}/{index}") for index, each in enumerate(value))


def _read_mapping(kind: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise WireError("wire.type", "An object is expected", where)
    name, member = typing.get_args(kind)
    return {read(name, key, where): read(member, each, f"{where}/*") for key, each in value.items()}


_Reader = Callable[[Any, Any, str], Any]
_READERS: Mapping[type, _Reader] = {
    str: _read_text,
    int: _read_integer,
    bool: _read_bool,
    types.NoneType: _read_none,
}
_GENERIC: Mapping[Any, _Reader] = {
    Annotated: _read_annotated,
    Literal: _read_literal,
    Union: _read_union,
    types.UnionType: _read_union,
    tuple: _read_array,
    Mapping: _read_mapping,
}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value

"""Words of a node as PostgreSQL can keep them: plain JSON values, without the one character that it refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def text(words: str) -> str:
    """NUL becomes the replacement character: a container may print it, and neither text nor jsonb can hold it."""
    return words.replace("\0", _REPLACEMENT)


def plain(message: Any) -> Any:
    """A message of the wire, or a part of one, as JSON values that can be stored."""
    if isinstance(message, str):
        return text(message)
    if dataclasses.is_dataclass(message) and not isinstance(message, type):
        return {field.name: plain(getattr(message, field.name)) for field in dataclasses.fields(message)}
    if isinstance(message, Mapping):
        return {text(name): plain(each) for name, each in message.items()}
    if isinstance(message, (list, tuple)):
        return [plain(each) for each in message]
    return message

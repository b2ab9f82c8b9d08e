"""Lists, newest first, cut by key and never by offset: a page costs the same at any depth and skips nothing."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db.models import Model, Q, QuerySet

from .parameters import Parameters

DEFAULT_LIMIT = 50
MAX_LIMIT = 200
_CURSOR_MAX_LENGTH = 300

Row = TypeVar("Row", bound=Model)


class Page:
    """The `?cursor=&limit=` of one request. Made before `parameters.check()`, so that its faults are told with the
    others."""

    def __init__(self, parameters: Parameters, rows: QuerySet[Any], *keys: str, oldest_first: bool = False):
        self._rows, self._keys, self._oldest_first = rows, keys, oldest_first
        self._limit = parameters.whole("limit", default=DEFAULT_LIMIT, least=1, most=MAX_LIMIT)
        self._after = self._place(parameters)

    def answer(self, represent: Callable[[Any], Any]) -> dict[str, Any]:
        """`{"results": [...], "next": CURSOR|null}`."""
        found = self._found()
        rest = len(found) > self._limit
        shown = found[: self._limit]
        return {"results": [represent(row) for row in shown], "next": self._cursor(shown[-1]) if rest else None}

    def _found(self) -> list[Any]:
        rows = self._rows if self._after is None else self._rows.filter(self._beyond(self._after))
        sign = "" if self._oldest_first else "-"
        # One more than asked for tells whether there is a next page.
        return list(rows.order_by(*[f"{sign}{key}" for key in self._keys])[: self._limit + 1])

    def _beyond(self, after: list[Any]) -> Q:
        """(k1, k2) < (a1, a2) in the order of the keys, or > where the oldest come first."""
        side = "gt" if self._oldest_first else "lt"
        wanted, equal = Q(), Q()
        for key, value in zip(self._keys, after, strict=True):
            wanted |= equal & Q(**{f"{key}__{side}": value})
            equal &= Q(**{key: value})
        return wanted

    def _cursor(self, row: Any) -> str:
        fields = row._meta
        values = [fields.get_field(key).value_to_string(row) for key in self._keys]
        return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")

    def _place(self, parameters: Parameters) -> list[Any] | None:
        text = parameters.text("cursor", max_length=_CURSOR_MAX_LENGTH)
        if not text:
            return None
        try:
            values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
            if (
                not isinstance(values, list)
                or len(values) != len(self._keys)
                or not all(isinstance(v, str) for v in values)
            ):
                raise ValueError("not the keys of this list")
            return [
                self._rows.model._meta.get_field(key).to_python(v) for key, v in zip(self._keys, values, strict=True)
            ]
        except (ValueError, binascii.Error, ValidationError, RecursionError, OverflowError):
            parameters.refuse(
                "cursor",
                "it is none that a list of this kind gave out",
                "Send `next` of the page before, or leave it out.",
            )
            return None

"""Where a Scaleway project's resources are: ids do not tell their zone, and lists are per zone and per page."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from providers import scaleway_values as values
from providers.errors import InvalidRequest, NotFound, Unavailable
from providers.scaleway_fence import readable

R = TypeVar("R")

_LISTING_ATTEMPTS = 3
_PAGES_MAX = 200
_SEEN_MAX = 10_000
_SEEN: dict[tuple[str, str], str] = {}
"""Where a resource was last seen, by project and id. A cache for this worker only; without it each zone is asked."""


class Zones:
    """The zones of an account, in the order in which they are asked."""

    def __init__(self, project_id: str, names: tuple[str, ...]) -> None:
        self.names = names
        self._project_id = project_id

    def saw(self, resource_id: str, zone: str) -> None:
        """Keep in mind where it is."""
        if len(_SEEN) >= _SEEN_MAX:
            _SEEN.clear()
        _SEEN[self._project_id, resource_id] = zone

    def find(self, resource_id: str, get: Callable[[str, str], R]) -> R:
        """What `get(id, zone)` answers in the zone that has the resource. Raises NotFound."""
        if not values.is_uuid(resource_id):
            raise NotFound(f"{resource_id!r} is no id of this provider", resource_id=resource_id)
        known = _SEEN.get((self._project_id, resource_id))
        missing = NotFound(f"{resource_id} is in none of {', '.join(self.names)}", resource_id=resource_id)
        for zone in (known,) if known else self.names:
            try:
                return get(resource_id, zone)
            except NotFound as error:
                missing = error
        raise missing

    def of_any(self, resource_ids: Sequence[str], get: Callable[[str, str], Any]) -> str:
        """The zone of the first of these that exists; the first zone if none does."""
        for resource_id in resource_ids:
            with contextlib.suppress(NotFound):
                self.find(resource_id, get)
                return _SEEN[self._project_id, resource_id]
        return self.names[0]

    def everywhere(self, page_of: Callable[[str, int], tuple[Sequence[Any], int]]) -> Iterator[tuple[str, Any]]:
        """Every row of every zone's list, with its zone. A zone that an API does not have has nothing in it."""
        for zone in self.names:
            try:
                with readable(write=False):
                    rows = complete(partial(page_of, zone))
            except (NotFound, InvalidRequest):
                continue
            yield from ((zone, row) for row in rows)


def complete(page_of: Callable[[int], tuple[Sequence[Any], int]]) -> list[Any]:
    """Every page of a list, in a bounded number of requests (the SDK's own ends on a short page only, and recurses). A
    list whose total changed while it was read is read anew: offsets move when a record goes."""
    for _ in range(_LISTING_ATTEMPTS):
        rows: list[Any] = []
        totals: set[int] = set()
        for page in range(1, _PAGES_MAX + 1):
            some, total = page_of(page)
            rows += some
            totals.add(total)
            if not some or len(rows) >= total:
                break
        if len(totals) == 1:
            return rows
    raise Unavailable("The list kept changing while it was read")

"""The quota of push credentials: a sliding window per project, kept by one guarded upsert in PostgreSQL.

Counters in a cache or in a throttle overrun under concurrency; here each taker waits for the row lock of the one
before, and the guard is judged on what that one left.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from .errors import QuotaExceeded

LIMIT = 10
WINDOW_SECONDS = 300

# clock_timestamp(), not now(): a taker that waited for the lock must not count by the time at which it began to wait.
_TAKE = """
INSERT INTO registry_quotawindow AS kept (project_id, taken_at)
VALUES (%(project_id)s, ARRAY[clock_timestamp()])
ON CONFLICT (project_id) DO UPDATE
   SET taken_at = ARRAY(SELECT t FROM unnest(kept.taken_at) AS t
                         WHERE t > clock_timestamp() - make_interval(secs => %(window_seconds)s) ORDER BY t)
                  || clock_timestamp()
 WHERE (SELECT count(*) FROM unnest(kept.taken_at) AS t
         WHERE t > clock_timestamp() - make_interval(secs => %(window_seconds)s)) < %(limit)s
"""

# The limit-th newest entry is the one whose end makes room.
_ROOM_IN = """
SELECT ceil(extract(epoch FROM t + make_interval(secs => %(window_seconds)s) - clock_timestamp()))
  FROM registry_quotawindow, unnest(taken_at) AS t
 WHERE project_id = %(project_id)s ORDER BY t DESC OFFSET %(limit)s - 1 LIMIT 1
"""


def take(*, project_id: UUID, limit: int = LIMIT, window_seconds: int = WINDOW_SECONDS) -> None:
    """Count one mint that is about to be tried. Raises QuotaExceeded, and then counts nothing.

    A transaction of its own, committed before the mint: one that fails must not give its place back. It therefore
    cannot run inside another (RuntimeError).
    """
    bounds: dict[str, UUID | int] = {"project_id": project_id, "limit": limit, "window_seconds": window_seconds}
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute(_TAKE, bounds)
        if cursor.rowcount:
            return
        cursor.execute(_ROOM_IN, bounds)
        (seconds,) = cursor.fetchone() or (0,)
    raise QuotaExceeded(limit=limit, window_seconds=window_seconds, retry_after_seconds=max(1, int(seconds)))

"""Liveness, readiness and metrics. Readiness names each thing that is missing, with its cure."""

from __future__ import annotations

from collections.abc import Callable

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from .. import signing
from ..errors import DeploymentError
from . import metrics

_BROKER_TIMEOUT_SECONDS = 2


def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked, so that a database away restarts no web process."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(request: HttpRequest) -> JsonResponse:
    """200 when everything that a release needs is there, else 503; `checks` maps each to "ok" or what is wrong."""
    checks = {name: check() for name, check in _CHECKS.items()}
    is_ready = all(answer == "ok" for answer in checks.values())
    return JsonResponse({"ready": is_ready, "checks": checks}, status=200 if is_ready else 503)


def metrics_page(request: HttpRequest) -> HttpResponse:
    try:
        return HttpResponse(generate_latest(metrics.REGISTRY), content_type=CONTENT_TYPE_LATEST)
    except DatabaseError:
        return HttpResponse("the database does not answer\n", status=503, content_type="text/plain")


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "PostgreSQL does not answer at DATABASE_URL."
    return "ok"


def _migrations() -> str:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        return "The migrations cannot be read without the database."
    return f"{len(missing)} migrations are missing; run `manage.py migrate`." if missing else "ok"


def _broker() -> str:
    try:
        client = redis.Redis.from_url(
            settings.REDIS_URL,
            socket_timeout=_BROKER_TIMEOUT_SECONDS,
            socket_connect_timeout=_BROKER_TIMEOUT_SECONDS,
        )
        with client:
            client.ping()
    except (redis.RedisError, OSError):
        return "Redis does not answer at REDIS_URL. Releases go on by the sweeps, up to a minute late."
    return "ok"


def _keys() -> str:
    try:
        signing.release_key()
    except DatabaseError:
        return "The keys cannot be read without the database."
    except DeploymentError as fault:
        return f"{fault.code}: run `manage.py keyset init`, with the key-encryption key that the keys were sealed with."
    return "ok"


_CHECKS: dict[str, Callable[[], str]] = {
    "database": _database,
    "migrations": _migrations,
    "broker": _broker,
    "keys": _keys,
}

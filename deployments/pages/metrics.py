"""Prometheus metrics: how many rows are in each state, and how old the oldest that should have moved is.

Read from the database when asked, so that each process tells the same and none has to be alive for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any

from django.db.models import Count, Max, Min, Model
from django.utils import timezone
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..domain.states import (
    RELEASE_PENDING,
    EnvironmentState,
    NodeState,
    OrderStatus,
    ReleaseStatus,
    VolumeState,
)
from ..models import Environment, LogQuery, Node, Observation, Order, Release, Volume

_STATES: tuple[tuple[str, str, type[Model], str, type[StrEnum]], ...] = (
    ("sam_environments", "Environments by state", Environment, "state", EnvironmentState),
    ("sam_releases", "Releases by status", Release, "status", ReleaseStatus),
    ("sam_orders", "Stop and retire orders by status", Order, "status", OrderStatus),
    ("sam_nodes", "Nodes by state", Node, "state", NodeState),
    ("sam_volumes", "Volumes by state", Volume, "state", VolumeState),
)


class StatesAndAges(Collector):
    """One query for each family."""

    def collect(self) -> Iterable[Metric]:
        yield from _states()
        yield from _ages()

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not ask the database."""
        return []


def _states() -> Iterator[Metric]:
    for name, words, model, column, states in _STATES:
        counted = dict(model._default_manager.order_by().values_list(column).annotate(count=Count("pk")))
        family = GaugeMetricFamily(name, words, labels=[column])
        # Also the empty states: a series that vanishes is no zero, and no alarm fires on it.
        for state in states:
            family.add_metric([state], counted.get(state, 0))
        yield family


def _ages() -> Iterator[Metric]:
    pending = Release.objects.filter(status__in=RELEASE_PENDING).aggregate(at=Min("created_at"))
    yield _age(
        "sam_release_pending_oldest_age_seconds", "Since the oldest unsettled release was accepted", pending["at"]
    )
    silent = Node.objects.filter(state__in=[NodeState.READY, NodeState.UNREACHABLE]).aggregate(at=Min("last_seen_at"))
    yield _age("sam_node_silence_longest_seconds", "Since the node that is silent longest was heard", silent["at"])
    observed = Observation.objects.aggregate(at=Max("reported_at"))
    yield _age("sam_observation_newest_age_seconds", "Since any node last reported on an environment", observed["at"])
    asked = LogQuery.objects.filter(answer__isnull=True).aggregate(at=Min("asked_at"))
    yield _age("sam_log_query_oldest_age_seconds", "Since the oldest unanswered question for logs", asked["at"])


def _age(name: str, words: str, since: Any) -> Metric:
    return GaugeMetricFamily(name, words, value=(timezone.now() - since).total_seconds() if since else 0)


REGISTRY = CollectorRegistry(auto_describe=False)
REGISTRY.register(StatesAndAges())

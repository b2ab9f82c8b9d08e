"""Many at once, on a real database: one server for an environment, and no more queries for each of a thousand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from django.db import connection

from deployments import signing, tasks
from deployments.models import Environment, Node, Release
from deployments.services import attempts, environments, reconciliation, workspaces
from providers.testing.harnesses import FakeHarness, HetznerHarness
from tests.clouds import BY, World, cloud
from tests.situations import at_once

RELEASES = 30
ENVIRONMENTS = int(os.environ.get("SAM_TEST_ENVIRONMENTS", "60"))
"""How many environments the long test has; 1000 is what was promised, and takes minutes."""
ACCOUNTS = 4


@pytest.fixture
def crowd(kind: type[FakeHarness], transactional_db: None, installation: None) -> Iterator[World]:
    with cloud(kind) as made:
        signing.init()
        made.account()
        yield made


def test_thirty_first_releases_at_once_make_one_server_and_one_volume(crowd: World) -> None:
    environment = crowd.environment()

    def first() -> Release:
        release = crowd.release(environment, data=10)
        reconciliation.advance(environment.pk)
        return release

    made = at_once([first] * RELEASES)
    assert [each for each in made if not isinstance(each, Release)] == []
    assert sorted(each.sequence for each in made) == list(range(1, RELEASES + 1))
    statuses = dict(environment.releases.values_list("sequence", "status"))
    assert statuses.pop(RELEASES) in ("waiting", "accepted")
    assert set(statuses.values()) == {"cancelled"}
    newest = environment.releases.get(sequence=RELEASES)
    crowd.run(environment, lambda: crowd.node(environment).state == "booting")
    at_once([partial(reconciliation.advance, environment.pk)] * 8)
    crowd.run(environment, lambda: crowd.volume(environment).state == "attached")
    assert crowd.created() == crowd.created("create_volume") == 1
    assert crowd.servers(environment) == [crowd.node(environment).server_id]
    assert Node.objects.count() == 1
    assert crowd.status(newest) == "waiting"


def test_advances_stops_and_releases_that_race_leave_one_server_or_none(crowd: World) -> None:
    environment = crowd.environment()
    crowd.release(environment, data=10)
    advance = partial(reconciliation.advance, environment.pk)
    stop = partial(environments.stop, environment=environment, by=BY)
    for round_ in range(4):
        at_once([advance, advance, stop if round_ == 2 else advance, advance])
        assert len(crowd.servers(environment)) <= 1
        crowd.wait(5)
    crowd.run(environment, lambda: crowd.state(environment) == "stopped")
    assert crowd.servers(environment) == []
    assert len(crowd.volumes(environment)) <= 1


@pytest.fixture
def clouds(crowd: World) -> Iterator[list[World]]:
    """An account in a cloud of its own each: a project has its own limit of requests an hour."""
    others = [World(type(crowd.harness)(), crowd.clock) for _ in range(1, ACCOUNTS)]
    for number, other in enumerate(others):
        other.account(f"cloud-{number}")
    yield [crowd, *others]
    for other in others:
        other.harness.close()


@pytest.mark.parametrize("kind", [HetznerHarness], ids=["hetzner"])
@pytest.mark.timeout(3600)
def test_many_environments_over_several_accounts_cost_the_same_each(clouds: list[World]) -> None:
    """The sweep as it runs, with every nudge lost; the last environment costs no more queries than the first."""
    names = ["cloud", *(f"cloud-{number}" for number in range(ACCOUNTS - 1))]
    rows = [clouds[n % ACCOUNTS].environment(f"e{n}", account=names[n % ACCOUNTS]) for n in range(ENVIRONMENTS)]
    costs = [_cost_of_first_advance(clouds[0], row) for row in rows]
    assert max(costs[-5:]) <= max(costs[ACCOUNTS : ACCOUNTS + 5]) + 2, costs
    for _ in range(200):
        for environment_id in reconciliation.unfinished(limit=200):
            reconciliation.advance(environment_id)
        for each in clouds:
            each.harness.advance(15)
        clouds[0].wait(31)
        if Node.objects.filter(state="booting").count() == ENVIRONMENTS:
            break
    else:
        raise AssertionError(list(Node.objects.exclude(state="booting").values_list("state", "fault"))[:5])
    assert sum(len(each.cloud().servers) for each in clouds) == ENVIRONMENTS
    assert sum(each.created() for each in clouds) == ENVIRONMENTS
    asked, due = _queries(partial(reconciliation.unfinished, limit=1000))
    assert asked == 1
    assert len(due) == ENVIRONMENTS


def test_a_rate_limit_that_lasts_is_waited_for(crowd: World) -> None:
    """It is the account's own crowd that meets it; none of them is to blame."""
    environment = crowd.environment()
    crowd.harness.refuse("rate", "create_server", times=attempts.MOST_FAILURES + 5)
    crowd.live(environment, crowd.release(environment))
    assert crowd.created() == attempts.MOST_FAILURES + 6


def _cost_of_first_advance(crowd: World, environment: Environment) -> int:
    crowd.release(environment)
    asked, _ = _queries(partial(reconciliation.advance, environment.pk))
    return asked


def _queries(call: Callable[[], Any]) -> tuple[int, Any]:
    """How many queries a call makes, and what it answers; Django's own log of them ends at 9000."""
    count = 0

    def counted(execute: Any, *arguments: Any) -> Any:
        nonlocal count
        count += 1
        return execute(*arguments)

    with connection.execute_wrapper(counted):
        answer = call()
    return count, answer


def test_one_bad_row_stops_nobody(crowd: World) -> None:
    bad, good = crowd.environment("bad"), crowd.environment("good")
    crowd.release(bad)
    release = crowd.release(good)
    Environment.objects.filter(pk=bad.pk).update(account="nobody-has-this")

    for _ in range(6):
        tasks.sweep_unfinished()
        crowd.wait(31)
    assert crowd.node(good).state == "booting"
    assert crowd.status(release) == "waiting"
    assert bad.releases.get().evidence["code"] == "provider.unknown_account"


def test_a_claim_and_the_idle_sweep_that_race_do_not_both_have_a_workspace(crowd: World) -> None:
    node = Node.objects.create(account="cloud", role="workspace", state="warm")
    old = Node.objects.filter(pk=node.pk)
    old.update(created_at=workspaces._past(workspaces.MAX_LIFE_SECONDS + 60))
    claimed, _ = at_once([partial(workspaces.claim, "cloud", by=BY), partial(workspaces._end, node.pk)])
    state = old.values_list("state", flat=True).get()
    assert (state == "ready") == (claimed is not None) or state == "deleting"

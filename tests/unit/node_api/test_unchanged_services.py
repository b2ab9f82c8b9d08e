"""Which containers a release leaves alone: the payload's answer, and the plan's, which must be the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.domain import plans
from deployments.domain.manifest import Manifest, Route, SecretName, Service
from deployments.domain.policy import Policy
from deployments.services import payloads

WEB = Service(image="r.example/web@sha256:" + "a" * 64, environment={"A": "${KEY}", "B": "${MODE:-slow}"})
OLD = Manifest(services={"web": WEB, "db": replace(WEB, environment={})}, routes=(Route("web", 80, "public"),))
VERSIONS = {"KEY": 1}


def unchanged(new: Manifest, versions: Mapping[str, int] = VERSIONS) -> set[str]:
    return payloads.unchanged_services(OLD, new, VERSIONS, versions)


def test_the_same_manifest_and_versions_leave_everything_alone() -> None:
    assert unchanged(OLD) == {"web", "db"}


@pytest.mark.parametrize(
    "web",
    [
        replace(WEB, image="r.example/web@sha256:" + "b" * 64),
        replace(WEB, command=("serve",)),
        replace(WEB, environment={"A": SecretName("KEY"), "B": "${MODE:-slow}"}),
        replace(WEB, environment={"A": "${KEY}", "B": "${MODE:-fast}"}),
    ],
)
def test_any_change_of_the_definition_counts(web: Service) -> None:
    assert unchanged(replace(OLD, services={**OLD.services, "web": web})) == {"db"}


def test_a_new_version_of_what_it_refers_to_counts_and_one_of_another_name_does_not() -> None:
    assert unchanged(OLD, {"KEY": 2}) == {"db"}
    assert unchanged(OLD, {"KEY": 1, "OTHER": 9}) == {"web", "db"}


def test_a_default_that_gives_way_to_a_value_counts() -> None:
    assert unchanged(OLD, {"KEY": 1, "MODE": 5}) == {"db"}


def test_a_port_that_becomes_public_counts_and_a_path_on_the_same_port_does_not() -> None:
    opened = replace(OLD, routes=(*OLD.routes, Route("db", 5432, "public", host="db.example")))
    assert unchanged(opened) == {"web"}
    moved = replace(OLD, routes=(Route("web", 80, "public", path="/app"), Route("db", 5432, "private")))
    assert unchanged(moved) == {"web", "db"}


def test_a_service_that_is_new_is_not_unchanged() -> None:
    assert unchanged(replace(OLD, services={**OLD.services, "more": WEB})) == {"web", "db"}


_services = st.dictionaries(
    st.sampled_from(["web", "db", "job"]),
    st.builds(
        Service,
        image=st.sampled_from(["r.example/x@sha256:" + digit * 64 for digit in "ab"]),
        environment=st.dictionaries(
            st.sampled_from(["A", "B"]), st.sampled_from(["${KEY}", "${MODE:-slow}", "plain"]), max_size=2
        ),
    ),
    min_size=1,
)
_routes = st.lists(
    st.builds(Route, st.sampled_from(["web", "db"]), st.sampled_from([80, 81]), st.sampled_from(["public", "private"])),
    max_size=2,
).map(tuple)
_manifests = st.builds(Manifest, services=_services, routes=_routes)
_versions = st.dictionaries(st.sampled_from(["KEY", "MODE"]), st.integers(1, 2))


@given(_manifests, _manifests, _versions, _versions)
def test_the_plan_tells_exactly_what_the_payload_then_changes(
    old: Manifest, new: Manifest, old_versions: dict[str, int], versions: dict[str, int]
) -> None:
    plan = plans.plan(
        old=old,
        new=new,
        newest_sequence=1,
        live_sequence=1,
        old_versions=old_versions,
        versions=versions,
        existing_volumes=frozenset(),
        policy=Policy(registry_host="r.example", namespace="shop"),
    )
    both = old.services.keys() & new.services.keys()
    assert set(plan.restarts) == both - payloads.unchanged_services(old, new, old_versions, versions)

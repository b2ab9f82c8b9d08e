"""Plans and policies: what a release would do, and what an environment does not allow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.domain import compose, plans, policy, references
from deployments.domain.manifest import Manifest
from deployments.domain.problems import Places

POLICY = policy.Policy.of({}, registry_host="registry.example", namespace="shop")


def read(document: str) -> compose.Parsed:
    parsed = compose.parse(document.encode())
    assert parsed.manifest is not None, parsed.problems
    return parsed


def of(document: str) -> Manifest:
    found = read(document).manifest
    assert found is not None
    return found


WEB = (
    'services:\n  web:\n    image: registry.example/shop/web:1\n    ports: ["3000"]\n    environment: {A: "${NAME}"}\n'
)
WITH_VOLUME = WEB + "    volumes: ['data:/data']\nvolumes: {data: }\n"


def plan(old: Manifest | None, new: Manifest, **changes: Any) -> plans.Plan:
    basis: dict[str, Any] = {
        "newest_sequence": 3, "live_sequence": 2 if old else 0, "old_versions": {"NAME": 1}, "versions": {"NAME": 1},
        "existing_volumes": frozenset(), "policy": POLICY,
    }  # fmt: skip
    return plans.plan(old=old, new=new, **{**basis, **changes})


def test_the_same_again_changes_and_restarts_nothing() -> None:
    found = plan(of(WEB), of(WEB))
    assert (found.changes, found.restarts, found.downtime, found.new_routes) == ((), (), "none", ())
    assert found.to["sequence"] == 4
    assert found.from_sequence == 2


def test_a_secret_with_a_new_version_restarts_who_refers_to_it() -> None:
    assert plan(of(WEB), of(WEB), versions={"NAME": 2}).restarts == ("web",)
    assert plan(of(WEB), of(WEB), versions={"NAME": 1, "OTHER": 9}).restarts == ()


def test_a_service_with_a_writable_volume_is_stopped_first_and_the_plan_says_why() -> None:
    found = plan(of(WITH_VOLUME), of(WITH_VOLUME.replace("web:1", "web:2")))
    assert found.restarts == ("web",)
    assert found.downtime == "stop-first"
    assert "web" in found.downtime_reason
    assert [change.kind for change in found.changes] == ["image"]


def test_a_route_that_goes_is_brief_downtime() -> None:
    two = WEB.replace('["3000"]', '["3000", "3001"]')
    assert plan(of(two), of(WEB)).downtime == "brief"
    found = plan(of(WEB), of(two))
    assert found.downtime == "none"
    assert [route.port for route in found.new_routes] == [3001]


def test_new_volumes_and_missing_secrets_are_told() -> None:
    found = plan(None, of(WITH_VOLUME), versions={})
    assert found.volumes_created == ("data",)
    assert found.missing_secrets == ("NAME",)
    assert plan(None, of(WITH_VOLUME), existing_volumes=frozenset({"data"})).volumes_created == ()
    assert plan(None, of(WEB.replace("${NAME}", "${NAME:-x}")), versions={}).missing_secrets == ()


def test_the_hash_moves_with_each_of_its_inputs_and_with_nothing_else() -> None:
    basis = plan(of(WEB), of(WEB)).plan_hash
    assert plan(of(WITH_VOLUME), of(WEB), warnings=()).plan_hash == basis
    assert plan(of(WEB), of(WEB), versions={"NAME": 1, "UNRELATED": 5}).plan_hash == basis
    moved = [
        plan(of(WEB), of(WEB.replace("web:1", "web:2"))),
        plan(of(WEB), of(WEB), newest_sequence=4),
        plan(of(WEB), of(WEB), live_sequence=1),
        plan(of(WEB), of(WEB), versions={"NAME": 2}),
        plan(of(WEB), of(WEB), versions={}),
        plan(of(WEB), of(WEB), policy=replace(POLICY, max_services=3)),
    ]
    assert len({basis, *(each.plan_hash for each in moved)}) == len(moved) + 1


def test_the_plan_on_the_wire_has_exactly_the_members_of_the_contract() -> None:
    assert set(plan(None, of(WEB)).as_json()) == {
        "plan_hash", "from_sequence", "to", "changes", "restarts", "downtime", "downtime_reason", "new_routes",
        "volumes_created", "missing_secrets", "policy", "warnings",
    }  # fmt: skip
    assert set(plan(None, of(WEB)).as_json()["changes"][0]) == {"kind", "service", "what", "from", "to"}


# Policy


@pytest.mark.parametrize(
    ("image", "admitted"),
    [
        ("registry.example/shop/web:1", True),
        ("registry.example/shop", False),
        ("registry.example/shop2/web", False),
        ("registry.example/shopper/web", False),
        ("other.example/shop/web", False),
        ("nginx", False),
        ("docker.io/library/redis:7", True),
        ("redis", True),
        ("redis-stack", False),
        ("ghcr.io/team/tool:1", True),
        ("ghcr.io/team/deep/tool", True),
        ("ghcr.io/teams/tool", False),
    ],
)
def test_images_come_from_the_namespace_or_the_list_however_they_are_written(image: str, admitted: bool) -> None:
    allowing = policy.Policy.of(
        {"allowed_images": ["redis", "ghcr.io/team/*"]}, registry_host="registry.example", namespace="shop"
    )
    problems = policy.check(of(WEB.replace("registry.example/shop/web:1", image)), allowing, Places())
    assert [each.code for each in problems] == ([] if admitted else ["image.outside_namespace"])


def test_a_foreign_image_is_refused_with_the_same_words_whatever_it_is_called() -> None:
    def refusal(image: str) -> Any:
        parsed = read(WEB.replace("registry.example/shop/web:1", image))
        assert parsed.manifest is not None
        return policy.check(parsed.manifest, POLICY, parsed.places)

    (first,), (second,) = refusal("docker.io/library/nginx"), refusal("registry.example/other-project/secret")
    assert first == second
    assert (first.pointer, first.line, first.column) == ("/services/web/image", 3, 12)


@pytest.mark.parametrize(
    ("limits", "changed", "code", "place"),
    [
        ("memory: 8G", {}, "policy.memory", (6, 43)),
        ("cpus: 8", {}, "policy.cpus", (6, 41)),
        ("pids: 5000", {}, "policy.pids", (6, 41)),
        ("pids: 50", {"max_services": 0}, "policy.services", (2, 3)),
        ("memory: 1G", {"max_total_memory_bytes": 1000}, "policy.total_memory", (2, 3)),
    ],
)
def test_what_is_above_a_limit_is_a_problem_at_its_place(
    limits: str, changed: dict[str, int], code: str, place: tuple[int, int]
) -> None:
    parsed = read(WEB + f"    deploy: {{resources: {{limits: {{{limits}}}}}}}\n")
    assert parsed.manifest is not None
    (problem,) = policy.check(parsed.manifest, replace(POLICY, **changed), parsed.places)
    assert problem.code == code
    assert (problem.line, problem.column) == place


# References


def test_expressions_are_numbered_by_the_bytes_of_their_text() -> None:
    found = of(
        'services: {web: {image: a, ports: ["1"], environment: {R: "${b} ${a:-x}", S: "${a}", T: {x-sam-secret: a},'
        ' W: {x-sam-secret: a-b}, V: "${a:?say}"}}}'
    )
    assert [each.text for each in references.expressions(found)] == ["a", "a-b", "a:-x", "a:?say", "b"]


@pytest.mark.parametrize(
    ("text", "values", "resolved"),
    [
        ("${A}", {"A": "x"}, "x"), ("${A}", {"A": ""}, ""), ("${A}", {}, None), ("${A:-d}", {}, "d"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A:-d}", {"A": "x"}, "x"), ("${A:-}", {}, ""), ("${A:?m}", {"A": ""}, None), ("${A:?m}", {}, None),
        ("${A:?m}", {"A": "x"}, "x"), ("${A:-a$$b}", {}, "a$b"),
    ],
)  # fmt: skip
def test_an_expression_resolves_as_compose_would(text: str, values: dict[str, str], resolved: str | None) -> None:
    found = of(f'services: {{web: {{image: a, ports: ["1"], environment: {{X: "{text}"}}}}}}')
    (expression,) = references.expressions(found)
    if resolved is None:
        with pytest.raises(references.UnsetReferenceError, match="A is not set"):
            references.resolve(expression, values)
        assert [each.name for each in references.missing(found, values)] == ["A"]
    else:
        assert references.resolve(expression, values) == resolved


def test_an_unset_reference_is_a_problem_at_its_place() -> None:
    parsed = read(WEB)
    assert parsed.manifest is not None
    (place,) = references.places(parsed.manifest)
    problem = references.unset_problem(place, parsed.places)
    assert (problem.code, problem.pointer, problem.line, problem.column) == (
        "reference.unset", "/services/web/environment/A", 5, 22,
    )  # fmt: skip

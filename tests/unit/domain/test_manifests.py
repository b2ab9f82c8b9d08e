"""Manifests: canonical, digested, round as a circle, and no way round the rules of the Compose door."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from typing import Any

import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.domain import compose, diff, manifest, references, renderer
from deployments.domain.compose.capabilities import left
from deployments.domain.manifest import Manifest
from tests import rendered
from tests.manifests import DIGESTS, manifests

EXAMPLES = int(os.environ.get("SAM_FUZZ_EXAMPLES", "50"))
ENVIRONMENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"


@settings(max_examples=EXAMPLES, deadline=None)
@given(manifests())
def test_canonical_bytes_are_those_of_rfc_8785(found: Manifest) -> None:
    assert manifest.canonical(found) == rfc8785.dumps(json.loads(json.dumps(manifest.to_json(found))))


@settings(max_examples=EXAMPLES, deadline=None)
@given(manifests())
def test_a_manifest_goes_to_json_and_back(found: Manifest) -> None:
    raw = manifest.canonical(found)
    parsed = manifest.from_json(raw)
    assert parsed.manifest == found, parsed.problems
    assert manifest.load(raw) == found
    assert manifest.canonical(parsed.manifest) == raw


@settings(max_examples=EXAMPLES, deadline=None)
@given(manifests())
def test_what_is_rendered_means_the_manifest(found: Manifest) -> None:
    pinned = manifest.pin(found, dict.fromkeys(manifest.images(found).values(), DIGESTS[0]))
    written = renderer.render(pinned, environment_id=ENVIRONMENT_ID, sequence=1)
    again = compose.parse(rendered.authored(written, references.expressions(found), found))
    assert again.manifest is not None, again.problems
    assert _meant(again.manifest) == _meant(pinned)


def _meant(found: Manifest) -> Manifest:
    """The manifest with capabilities as they are left in the end, which two ways of dropping may share."""
    kept = {
        name: replace(each, cap_drop=left(each.cap_drop, each.cap_add), cap_add=())
        for name, each in found.services.items()
    }
    return replace(found, services=kept)


@settings(max_examples=EXAMPLES, deadline=None)
@given(manifests(), manifests())
def test_equal_input_gives_equal_bytes_whatever_the_order_of_what_has_none(one: Manifest, other: Manifest) -> None:
    turned = replace(one, services=dict(reversed(one.services.items())), volumes=dict(reversed(one.volumes.items())))
    assert manifest.digest(turned) == manifest.digest(one)
    assert (manifest.digest(one) == manifest.digest(other)) == (one == other)


SPOILT = st.sampled_from(
    [None, True, -1, 0, 1 << 60, 1.5, "", "x", "no", "$A", "${A}", "${SAM_X}", "../..", "/proc/x", "/", "other", [],
    {}, ["x"],
     "a:b", "https://x/y", "privileged", {"x-sam-secret": "SAM_Y"}, "always", 70000, "10.0.0.1", "\u202e", "\x00"]
)  # fmt: skip


def _places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [way]
    if isinstance(value, dict):
        found += [each for key, inner in value.items() for each in _places(inner, (*way, key))]
    elif isinstance(value, list):
        found += [each for number, inner in enumerate(value) for each in _places(inner, (*way, number))]
    return found


@settings(max_examples=2 * EXAMPLES, deadline=None)
@given(manifests(), st.data())
def test_no_field_can_be_spoilt_into_something_that_the_compose_door_would_have_stopped(
    found: Manifest, data: st.DataObject
) -> None:
    """Whatever comes through is rendered, read backwards, and passes the Compose door as the same manifest."""
    document = json.loads(manifest.canonical(found))
    for _ in range(data.draw(st.integers(1, 2))):
        *way, last = data.draw(st.sampled_from(_places(document)[1:]))
        target = document
        for part in way:
            target = target[part]
        action = data.draw(st.sampled_from(["replace", "remove", "add"]))
        if action == "remove":
            del target[last]
        elif action == "add" and isinstance(target, dict):
            target[data.draw(st.sampled_from(["privileged", "x-a", "extra", "ports", "image", "host"]))] = data.draw(
                SPOILT
            )
        else:
            target[last] = data.draw(SPOILT)
        if not isinstance(document.get("services"), dict):
            break
    parsed = manifest.from_json(json.dumps(document).encode())
    assert all(each.line and each.column and each.hint for each in parsed.problems)
    if parsed.manifest is None:
        assert parsed.problems
        return
    pinned = manifest.pin(parsed.manifest, dict.fromkeys(manifest.images(parsed.manifest).values(), DIGESTS[0]))
    written = renderer.render(pinned, environment_id=ENVIRONMENT_ID, sequence=1)
    again = compose.parse(rendered.authored(written, references.expressions(pinned), pinned))
    assert again.manifest is not None, again.problems
    assert _meant(again.manifest) == _meant(pinned)


# Differences


@settings(max_examples=EXAMPLES, deadline=None)
@given(manifests())
def test_nothing_differs_from_itself(found: Manifest) -> None:
    assert diff.diff(found, manifest.load(manifest.canonical(found))) == ()


@settings(max_examples=EXAMPLES, deadline=None)
@given(manifests(), manifests())
def test_two_manifests_differ_by_something_exactly_if_they_are_not_equal(one: Manifest, other: Manifest) -> None:
    changes = diff.diff(one, other)
    assert bool(changes) == (one != other)
    places = [(each.service, each.what) for each in changes]
    assert len(places) == len(set(places))


@settings(max_examples=EXAMPLES, deadline=None)
@given(manifests(), manifests(), st.data())
def test_one_field_that_changed_is_told_and_nothing_else(one: Manifest, other: Manifest, data: st.DataObject) -> None:
    shared = sorted(one.services.keys() & other.services.keys())
    if not shared:
        return
    name = data.draw(st.sampled_from(shared))
    field = data.draw(st.sampled_from([each.name for each in fields(one.services[name])]))
    value = getattr(other.services[name], field)
    changed = replace(one, services={**one.services, name: replace(one.services[name], **{field: value})})
    changes = diff.diff(one, changed)
    assert bool(changes) == (changed != one)
    assert all(each.service == name and each.what.partition(".")[0] == field for each in changes)
    flat = field not in ("environment", "depends_on", "resources", "healthcheck")
    assert len(changes) <= 1 or not flat


def test_values_of_an_environment_are_not_told() -> None:
    def of(value: str) -> Manifest:
        service = manifest.Service("a:1", environment={"PASSWORD": value, "URL": "x${A}" + value})
        return Manifest({"web": service}, worker=True)

    told = json.dumps([each.as_json() for each in diff.diff(of("hunter2"), of("hunter3"))])
    assert "hunter" not in told
    assert "${A}" in told

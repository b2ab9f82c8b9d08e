"""What a node fetches: judged by the agent's own verification, opened by its own key, and only what is its business."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from agents.models import Project
from deployments.domain.manifest import Manifest, Mount, Route, Service, VolumeSpec
from deployments.models import Environment, NamedValue, Node, Payload, Release, Volume
from deployments.services import environments, reconciliation, releases, values
from nodeagent import inbox
from nodeagent.records import EnvironmentFloor
from nodeagent.wire import sealed as sealing
from nodeagent.wire.decode import load, read
from nodeagent.wire.digests import EMPTY, sha256_digest
from nodeagent.wire.keyset import Keyset
from nodeagent.wire.orders import ROUTES, VOLUMES
from registry.models import RegistryMint
from tests.node_client import SimulatedNode, code_of, event, healthy, payload_of, receipt_for, statement_of
from tests.situations import BY, DIGEST, IMAGE, OTHER_IMAGE, with_image
from timeline import events

CANARY = "canary-5bd8"


def knowledge(node: SimulatedNode, environment: Environment, keyset: Keyset, seen: int = 0) -> inbox.Knowledge:
    return inbox.Knowledge(
        node_id=node.node_id,
        environment_id=str(environment.pk),
        generation=environment.generation,
        keyset=keyset,
        registry_hosts=frozenset({"127.0.0.1:5000"}),
        floor=EnvironmentFloor(seen, ""),
        server_time=0,
    )


def test_the_agent_trusts_every_part_of_what_it_fetches(
    node: SimulatedNode, environment: Environment, keyset: Keyset, offer: Callable[[], Release]
) -> None:
    release = offer()
    payload = payload_of(node.fetch(environment.pk, 1))
    verdict = inbox.accept(payload, knowledge(node, environment, keyset), now=int(time.time()))
    assert verdict.code is None, verdict.why
    assert verdict.statement is not None
    stated = verdict.statement
    assert (stated.action, stated.seq, stated.generation) == ("apply", 1, 1)
    assert stated.release_digest == release.manifest_digest
    assert stated.previous_release_digest == ""
    assert 0 < stated.expires_at - stated.issued_at <= 3600
    assert [route.service for route in read(ROUTES, load(payload.routes))] == ["web"]


def test_a_lifetime_is_an_hour_at_most_whatever_is_set(settings: Settings, deliver: Callable[[], object]) -> None:
    settings.PAYLOAD_LIFETIME_SECONDS = 86_400
    stated = deliver().statement  # type: ignore[attr-defined]
    assert stated.expires_at - stated.issued_at == 3600


def test_values_and_pull_credentials_are_sealed_for_this_node_alone(
    node: SimulatedNode, environment: Environment, offer: Callable[..., Release], content: Manifest
) -> None:
    values.set_value(environment=environment, kind=NamedValue.SECRET, name="KEY", value=CANARY.encode(), by=BY)
    values.set_value(environment=environment, kind=NamedValue.VARIABLE, name="MODE", value=b"fast", by=BY)
    texts = {"A": "${KEY}", "B": "${MODE}", "C": "${UNSET:-default}"}
    web = replace(content.services["web"], environment=texts)
    offer(replace(content, services={"web": web}))
    payload = payload_of(node.fetch(environment.pk, 1))
    opened = sealing.unseal(payload.sealed, node.box)
    assert opened.values == (CANARY, "fast", "default")
    assert (opened.environment_id, opened.node_id, opened.seq) == (str(environment.pk), node.node_id, 1)
    (login,) = opened.registries
    assert login.host == "127.0.0.1:5000"
    mint = RegistryMint.objects.get(kind="pull")
    assert (mint.repositories, mint.requested_by) == (["shop/web"], {"node": node.node_id})
    assert CANARY.encode() not in payload.compose + payload.envelope + payload.routes + payload.volumes
    assert b"${SAM_SECRET_0?}" in payload.compose
    row = Release.objects.get()
    assert row.reference_versions == {"KEY": 1, "MODE": 2}


def test_what_is_stored_is_shipped_again_byte_for_byte(
    node: SimulatedNode, environment: Environment, offer: Callable[[], Release]
) -> None:
    offer()
    assert node.fetch(environment.pk, 1).content == node.fetch(environment.pk, 1).content
    assert Payload.objects.count() == 1
    told = events.of_subject("release", Release.objects.get().pk).filter(kind="release:fetched")
    assert told.count() == 1


def test_a_payload_that_has_expired_is_made_anew_with_the_same_sequence_and_digest(
    node: SimulatedNode, environment: Environment, keyset: Keyset, deliver: Callable[[], object]
) -> None:
    first = deliver().statement  # type: ignore[attr-defined]
    Payload.objects.update(expires_at=timezone.now() + timedelta(seconds=10))
    payload = payload_of(node.fetch(environment.pk, 1))
    second = statement_of(payload, keyset)
    assert Payload.objects.count() == 2
    assert (second.seq, second.release_digest) == (first.seq, first.release_digest)
    assert second.sealed_sha256 == sha256_digest(payload.sealed)


def test_only_what_is_pending_or_current_can_be_fetched(
    node: SimulatedNode, environment: Environment, deliver: Callable[..., object], content: Manifest
) -> None:
    _make_live(node, environment, deliver())
    assert node.fetch(environment.pk, 1).status_code == 200
    _make_live(node, environment, deliver(with_image(content, OTHER_IMAGE)), OTHER_IMAGE)
    for sequence, status in ((1, 404), (2, 200), (3, 404)):
        assert node.fetch(environment.pk, sequence).status_code == status


def test_a_release_that_is_cancelled_before_it_was_fetched_cannot_be_fetched(
    node: SimulatedNode, environment: Environment, offer: Callable[[], Release]
) -> None:
    releases.cancel(release=offer(), by=BY)
    assert Release.objects.get().status == "cancelled"
    assert code_of(node.fetch(environment.pk, 1)) == "not_found"


def test_a_release_that_was_fetched_is_cancelled_by_its_node(
    node: SimulatedNode, environment: Environment, deliver: Callable[[], object]
) -> None:
    deliver()
    releases.cancel(release=Release.objects.get(), by=BY)
    assert Release.objects.get().status == "offered"
    assert Release.objects.get().cancel_requested_at is not None


def test_an_offer_whose_reference_is_unset_when_it_must_be_made_anew_fails(
    node: SimulatedNode, environment: Environment, offer: Callable[..., Release], content: Manifest
) -> None:
    values.set_value(environment=environment, kind=NamedValue.VARIABLE, name="MODE", value=b"fast", by=BY)
    web = replace(content.services["web"], environment={"A": "${MODE}"})
    offer(replace(content, services={"web": web}))
    values.unset(environment=environment, kind=NamedValue.VARIABLE, name="MODE", by=BY)
    Payload.objects.update(expires_at=timezone.now())
    answer = node.fetch(environment.pk, 1)
    assert (answer.status_code, code_of(answer)) == (422, "reference.unset")
    failed = Release.objects.get()
    assert (failed.status, (failed.evidence or {})["code"]) == ("failed", "reference.unset")


def test_a_service_that_did_not_change_keeps_its_label_and_a_changed_one_gets_the_new_sequence(
    node: SimulatedNode, environment: Environment, deliver: Callable[..., object], content: Manifest
) -> None:
    two = replace(content, services={**content.services, "worker": Service(image=IMAGE)})
    _make_live(node, environment, deliver(two))
    changed = {"web": replace(two.services["web"], image=OTHER_IMAGE), "worker": two.services["worker"]}
    deliver(replace(two, services=changed))
    assert Release.objects.get(sequence=2).changed_in == {"web": 2, "worker": 1}


@pytest.mark.parametrize("what", ["secret", "route", "nothing"])
def test_the_versions_of_what_a_service_refers_to_and_its_public_ports_belong_to_its_definition(
    node: SimulatedNode, environment: Environment, deliver: Callable[..., object], content: Manifest, what: str
) -> None:
    values.set_value(environment=environment, kind=NamedValue.SECRET, name="KEY", value=b"first", by=BY)
    web = replace(content.services["web"], environment={"A": "${KEY}"})
    wanted = replace(content, services={"web": web, "worker": Service(image=IMAGE)})
    _make_live(node, environment, deliver(wanted))
    if what == "secret":
        values.set_value(environment=environment, kind=NamedValue.SECRET, name="KEY", value=b"second", by=BY)
    if what == "route":
        wanted = replace(wanted, routes=(*wanted.routes, Route("web", 9090, "public", path="/admin")))
    deliver(wanted)
    assert Release.objects.get(sequence=2).changed_in == {"web": 1 if what == "nothing" else 2, "worker": 1}


def test_a_payload_made_anew_for_what_is_live_does_not_rewrite_what_runs(
    node: SimulatedNode, environment: Environment, deliver: Callable[..., object], content: Manifest
) -> None:
    values.set_value(environment=environment, kind=NamedValue.SECRET, name="KEY", value=b"first", by=BY)
    web = replace(content.services["web"], environment={"A": "${KEY}"})
    _make_live(node, environment, deliver(replace(content, services={"web": web})))
    values.set_value(environment=environment, kind=NamedValue.SECRET, name="KEY", value=b"second", by=BY)
    Payload.objects.update(expires_at=timezone.now())
    assert node.fetch(environment.pk, 1).status_code == 200
    assert Release.objects.get().reference_versions == {"KEY": 1}


def test_volumes_say_where_their_bytes_are(
    node: SimulatedNode, environment: Environment, keyset: Keyset, offer: Callable[..., Release], content: Manifest
) -> None:
    made = {"environment": environment, "account": "local", "state": "attached", "server_id": "server-1"}
    Volume.objects.create(name="files", size_gb=1, volume_id="vol-1", device_path="/srv/volumes/vol-1", **made)
    Volume.objects.create(name="rows", size_gb=2, volume_id="42", device_path="/dev/disk/by-id/x-42", **made)
    web = replace(
        content.services["web"],
        volumes=(Mount("files", "/files"), Mount("rows", "/rows")),
        update_order="stop-first",
    )
    volumes = {"files": VolumeSpec(), "rows": VolumeSpec()}
    offer(replace(content, services={"web": web}, volumes=volumes))
    payload = payload_of(node.fetch(environment.pk, 1))
    files, rows = read(VOLUMES, load(payload.volumes))
    assert (files.name, files.id, files.source.kind, files.source.path) == (
        "files", "vol-1", "directory", "/srv/volumes/vol-1",
    )  # fmt: skip
    assert (rows.source.kind, rows.source.size_bytes, rows.source.format) == ("device", 2 * 10**9, "ext4")
    verdict = inbox.accept(payload, knowledge(node, environment, keyset), now=int(time.time()))
    assert verdict.code is None, verdict.why


def test_a_stop_names_the_release_that_it_stops_and_carries_nothing(
    node: SimulatedNode, environment: Environment, keyset: Keyset, deliver: Callable[..., object]
) -> None:
    first = deliver()
    _make_live(node, environment, first)
    environments.stop(environment=environment, by=BY)
    reconciliation.advance(environment.pk)
    payload = payload_of(node.fetch(environment.pk, 2))
    stated = statement_of(payload, keyset)
    assert (stated.action, stated.seq) == ("stop", 2)
    assert stated.release_digest == first.release.manifest_digest  # type: ignore[attr-defined]
    assert stated.compose_sha256 == stated.sealed_sha256 == EMPTY
    assert payload.compose == payload.routes == payload.volumes == payload.sealed == b""
    verdict = inbox.accept(payload, knowledge(node, environment, keyset, seen=1), now=int(time.time()))
    assert verdict.code is None, verdict.why


def test_an_environment_that_moved_to_another_node_is_not_found_any_more(
    node: SimulatedNode, environment: Environment, project: Project, offer: Callable[[], Release]
) -> None:
    offer()
    elsewhere = Node.objects.create(account="local", state="ready")
    Environment.objects.filter(pk=environment.pk).update(node=elsewhere, generation=2)
    assert node.fetch(environment.pk, 1).status_code == 404


def _make_live(node: SimulatedNode, environment: Environment, delivered: object, image: str = IMAGE) -> None:
    statement = delivered.statement  # type: ignore[attr-defined]
    names = Release.objects.get(environment=environment, sequence=statement.seq).changed_in
    digest = image.partition("@")[2]
    seen = {name: healthy(digest if name == "web" else DIGEST) for name in names}
    answer = node.report(
        environment.pk,
        statement.seq,
        event(statement.seq, "apply:begin", "verify"),
        receipt=node.signed(receipt_for(statement, seen)),
    )
    assert answer.status_code == 204, answer.content
    assert Release.objects.get(environment=environment, sequence=statement.seq).status == "live"

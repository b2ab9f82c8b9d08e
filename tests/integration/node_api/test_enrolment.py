"""Enrolment: a one-time token and a node's own keys become a node, once."""

from __future__ import annotations

import json
from datetime import timedelta

from django.utils import timezone

from deployments.models import Environment, Node
from nodeagent.wire.keyset import Keyset
from tests.node_client import SimulatedNode, code_of
from tests.situations import at_once, token_for
from timeline import events


def test_a_node_enrols_with_its_token_and_learns_who_it_is(
    keyset: Keyset, node_row: Node, environment: Environment
) -> None:
    answer = SimulatedNode().enrol(token_for(node_row))
    found = json.loads(answer.content)
    assert answer.status_code == 200
    assert found["node_id"] == str(node_row.pk)
    assert found["node_generation"] == 1
    assert found["registry_hosts"] == ["127.0.0.1:5000"]
    assert found["environments"] == [{"environment_id": str(environment.pk), "generation": 1}]
    node_row.refresh_from_db()
    assert node_row.state == "enrolled"


def test_a_node_learns_the_registries_that_its_environments_admit_images_from(
    keyset: Keyset, node_row: Node, environment: Environment
) -> None:
    environment.policy = {"allowed_images": ["docker.io/library/*", "ghcr.io/acme/tool"]}
    environment.save()
    found = json.loads(SimulatedNode().enrol(token_for(node_row)).content)
    assert found["registry_hosts"] == ["127.0.0.1:5000", "docker.io", "ghcr.io"]


def test_the_same_token_and_keys_again_get_the_same_answer(keyset: Keyset, node_row: Node) -> None:
    node, token = SimulatedNode(), token_for(node_row)
    first, second = json.loads(node.enrol(token).content), json.loads(node.enrol(token).content)
    assert first | {"server_time": 0} == second | {"server_time": 0}


def test_the_same_token_with_other_keys_is_refused_and_the_node_is_quarantined_with_an_alarm(
    keyset: Keyset, node_row: Node
) -> None:
    token, node, thief = token_for(node_row), SimulatedNode(), SimulatedNode()
    node.enrol(token)
    stolen = thief.enrol(token)
    assert (stolen.status_code, code_of(stolen)) == (403, "enrol.keys")
    told = events.of_subject("node", node_row.pk).get(kind="node:quarantined")
    assert told.severity == "alarm"
    refused = node.beat()
    assert (refused.status_code, code_of(refused)) == (403, "node.quarantined")
    assert code_of(node.enrol(token)) == "node.quarantined"


def test_other_keys_are_other_keys_also_where_only_the_sealing_key_differs(keyset: Keyset, node_row: Node) -> None:
    token, node = token_for(node_row), SimulatedNode()
    node.enrol(token)
    answer = SimulatedNode(key=node.key).enrol(token)
    assert code_of(answer) == "enrol.keys"


def test_an_expired_token_and_an_unknown_one_are_refused_alike(keyset: Keyset, node_row: Node) -> None:
    token = token_for(node_row)
    Node.objects.filter(pk=node_row.pk).update(enrolment_expires_at=timezone.now() - timedelta(seconds=1))
    late, unknown = SimulatedNode().enrol(token), SimulatedNode().enrol("x" * 43)
    assert late.status_code == unknown.status_code == 401
    assert late.content == unknown.content
    assert code_of(late) == "enrol.token"


def test_a_used_token_keeps_answering_its_keys_after_its_expiry(keyset: Keyset, node_row: Node) -> None:
    """The agent asks again when its machine died between the answer and the disk."""
    token, node = token_for(node_row), SimulatedNode()
    node.enrol(token)
    node_row.refresh_from_db()
    assert node_row.enrolment_expires_at is None
    assert node.enrol(token).status_code == 200


def test_a_proof_by_another_key_is_refused(keyset: Keyset, node_row: Node) -> None:
    node, other = SimulatedNode(), SimulatedNode()
    token = token_for(node_row)
    proof = other.enrol("y" * 43)  # any request: only its shape is used
    assert proof.status_code == 401
    answer = node.enrol(token, proof="A" * 86 + "==")
    assert (answer.status_code, code_of(answer)) == (422, "enrol.proof")
    node_row.refresh_from_db()
    assert node_row.ed25519_public is None


def test_two_machines_that_enrol_at_once_leave_one_bound_and_the_node_quarantined(
    keyset: Keyset, node_row: Node
) -> None:
    token = token_for(node_row)
    rivals = [SimulatedNode(), SimulatedNode()]
    answers = at_once([lambda rival=rival: rival.enrol(token) for rival in rivals])  # type: ignore[misc]
    assert sorted(answer.status_code for answer in answers) == [200, 403]
    node_row.refresh_from_db()
    assert node_row.quarantined_at is not None
    winner = next(rival for rival in rivals if rival.node_id)
    assert bytes(node_row.ed25519_public or b"") == bytes(winner.key.verify_key)


def test_one_machine_that_enrols_twice_at_once_gets_one_answer_twice(keyset: Keyset, node_row: Node) -> None:
    token, node = token_for(node_row), SimulatedNode()
    answers = at_once([lambda: node.enrol(token)] * 4)
    assert {answer.status_code for answer in answers} == {200}
    node_row.refresh_from_db()
    assert (node_row.quarantined_at, node_row.generation) == (None, 1)
    assert events.of_subject("node", node_row.pk).filter(kind="node:enrolled").count() == 1


def test_who_provisions_a_second_time_hands_out_the_same_unused_token(keyset: Keyset, node_row: Node) -> None:
    first = token_for(node_row)
    assert token_for(node_row) == first
    SimulatedNode().enrol(first)
    assert token_for(node_row) != first


def test_a_fresh_token_binds_new_keys_under_a_new_generation_and_the_old_ones_end(
    keyset: Keyset, node_row: Node, environment: Environment
) -> None:
    before, after = SimulatedNode(), SimulatedNode()
    before.enrol(token_for(node_row))
    after.enrol(token_for(node_row))
    assert after.generation == 2
    assert code_of(before.beat()) == "request.signature"
    assert after.beat().status_code == 200


def test_a_node_that_is_being_deleted_does_not_enrol(keyset: Keyset, node_row: Node) -> None:
    token = token_for(node_row)
    Node.objects.filter(pk=node_row.pk).update(state="deleting")
    assert code_of(SimulatedNode().enrol(token)) == "node.gone"


def test_the_token_is_nowhere_in_the_database(keyset: Keyset, node_row: Node) -> None:
    token = token_for(node_row)
    row = Node.objects.filter(pk=node_row.pk).values().get()
    assert not any(token.encode() in bytes(value) for value in row.values() if isinstance(value, memoryview | bytes))
    assert token not in str(row)


def test_an_enrolment_that_is_no_message_is_refused_with_a_code(keyset: Keyset) -> None:
    client = SimulatedNode().client
    for body, status, code in (
        (b"{", 400, "wire.syntax"),
        (b"\xff", 400, "wire.encoding"),
        (b"{}", 422, "wire.members"),
        (b'{"token": 1, "token": 2}', 400, "wire.duplicate"),
        (b" " * 20_000, 413, "wire.size"),
    ):
        answer = client.post("/api/node/v1/enrol", body, content_type="application/json")
        assert (answer.status_code, code_of(answer)) == (status, code)
    answer = client.get("/api/node/v1/enrol")
    assert (answer.status_code, code_of(answer), answer["Allow"]) == (405, "request.method", "POST")

"""What the registry itself lets through, and what it refuses: the real one, asking the real token service."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from registry import credentials, jwts
from registry.models import RegistryMint
from registry.ports import PullCredentials, PushCredentials
from tests.registry_client import Client, image, sha256

Login = Callable[[PushCredentials | PullCredentials], Client]
AgentOf = Callable[[str], Client]


def refused(attempt: Callable[[], object]) -> int:
    with pytest.raises(requests.HTTPError) as refusal:
        attempt()
    assert refusal.value.response is not None
    return refusal.value.response.status_code


def test_a_push_inside_the_namespace_works_and_can_be_read_back(agent_of: AgentOf) -> None:
    agent, pushed = agent_of("acme"), image("hello")
    digest = agent.push("acme/web", "1", pushed)
    assert agent.manifest("acme/web", digest).content == pushed.manifest
    assert agent.blob("acme/web/deeper", "sha256:" + "0" * 64).status_code == 404


def test_docker_login_asks_for_no_scope_and_is_let_in(agent_of: AgentOf) -> None:
    assert agent_of("acme").login() == 200


@pytest.mark.parametrize("repository", ["globex/web", "acme", "acme-2/web", "acmeweb/x", "library/web"])
def test_a_push_outside_the_namespace_is_refused(agent_of: AgentOf, repository: str) -> None:
    assert refused(lambda: agent_of("acme").push(repository, "1", image("outside"))) == 401


def test_a_read_of_another_namespace_is_refused(agent_of: AgentOf) -> None:
    theirs = image("theirs")
    digest = agent_of("globex").push("globex/web", "1", theirs)
    agent = agent_of("acme")
    assert agent.manifest("globex/web", digest).status_code == 401
    assert agent.blob("globex/web", sha256(theirs.blobs[0])).status_code == 401


def test_a_mount_from_another_namespace_is_refused_and_from_the_own_one_works(agent_of: AgentOf) -> None:
    theirs, ours = image("a layer of theirs"), image("a layer of ours")
    agent_of("globex").push("globex/web", "1", theirs)
    agent = agent_of("acme")
    agent.push("acme/web", "1", ours)

    foreign = agent.mount("acme/stolen", "globex/web", sha256(theirs.blobs[1]))
    assert foreign.status_code == 401
    assert agent.blob("acme/stolen", sha256(theirs.blobs[1])).status_code == 404

    own = agent.mount("acme/worker", "acme/web", sha256(ours.blobs[1]))
    assert own.status_code == 201
    assert agent.blob("acme/worker", sha256(ours.blobs[1])).content == ours.blobs[1]


def test_several_scopes_are_answered_with_the_part_that_is_carried(agent_of: AgentOf) -> None:
    answer = agent_of("acme").token_answer(
        "repository:globex/web:pull", "repository:acme/web:pull,push,delete", "registry:catalog:*"
    )
    assert answer.status_code == 200
    assert access_in(answer) == [{"type": "repository", "name": "acme/web", "actions": ["pull", "push"]}]
    assert answer.headers["Cache-Control"] == "no-store"


def test_nobody_has_no_rights(registry_log: Path, registry_port: int, agent_of: AgentOf) -> None:
    digest = agent_of("acme").push("acme/web", "1", image("not for everybody"))
    nobody = Client(f"127.0.0.1:{registry_port}")
    assert nobody.token_answer("repository:acme/web:pull").status_code == 401
    assert nobody.manifest("acme/web", digest).status_code == 401
    assert nobody.login() == 401


def test_nothing_is_deleted_through_the_registry_and_no_catalogue_is_shown(agent_of: AgentOf) -> None:
    agent = agent_of("acme")
    digest = agent.push("acme/web", "1", image("kept"))
    assert agent.delete_manifest("acme/web", digest).status_code in (401, 405)
    assert agent.manifest("acme/web", digest).status_code == 200
    assert agent._send("GET", "/v2/_catalog", scopes=("registry:catalog:*",)).status_code == 401


def test_a_manifest_that_sends_nodes_to_other_addresses_for_its_layers_is_refused(agent_of: AgentOf) -> None:
    agent, foreign = agent_of("acme"), image("foreign", urls=["http://169.254.169.254/latest"])
    assert refused(lambda: agent.push("acme/web", "foreign", foreign)) >= 400
    assert agent.manifest("acme/web", foreign.digest).status_code == 404


def test_a_revoked_credential_gets_no_more_tokens(login: Login) -> None:
    made = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    assert login(made).login() == 200
    assert credentials.revoke(made.jti, by={"operator": "ada"})
    assert login(made).login() == 401
    assert refused(lambda: login(made).push("acme/web", "1", image("late"))) == 401


def test_an_expired_credential_is_refused(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "PUSH_TTL_SECONDS", 1)
    made = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    time.sleep(1.1)
    assert login(made).login() == 401


def test_a_registry_token_does_not_outlive_its_credential(login: Login, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "PUSH_TTL_SECONDS", 2)
    agent = login(credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={}))
    assert agent.login() == 200  # and the client keeps the token
    time.sleep(2.2)
    assert agent.login() == 401


def test_a_password_is_no_registry_token(login: Login, registry_port: int) -> None:
    made = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    headers = {"Authorization": f"Bearer {made.password.reveal()}"}
    assert requests.get(f"http://127.0.0.1:{registry_port}/v2/", headers=headers, timeout=5).status_code == 401


def test_a_registry_token_is_no_password(login: Login) -> None:
    agent = login(credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={}))
    agent.password = agent.token_answer().json()["token"]
    assert agent.token_answer().status_code == 401


def test_a_credential_whose_audit_row_is_gone_is_worth_nothing(login: Login) -> None:
    made = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    RegistryMint.objects.filter(jti=made.jti).delete()
    assert login(made).login() == 401


def test_the_rights_are_those_of_the_audit_row_and_its_time_counts_too(login: Login) -> None:
    made = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    RegistryMint.objects.filter(jti=made.jti).update(expires_at=made.expires_at - timedelta(seconds=1000))
    assert login(made).login() == 401


def test_a_user_name_of_another_credential_is_refused(login: Login) -> None:
    first = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    second = credentials.mint_push(project_id=uuid4(), namespace="acme", requested_by={})
    client = login(first)
    client.username = second.username
    assert client.login() == 401


def test_a_pull_credential_pulls_its_repositories_and_nothing_else(agent_of: AgentOf, login: Login) -> None:
    agent, pushed = agent_of("acme"), image("for a node")
    digest = agent.push("acme/web", "1", pushed)
    other = agent.push("acme/admin", "1", image("not for this node"))
    node = login(
        credentials.mint_pull(
            project_id=uuid4(), repositories=["acme/web"], requested_by={"node": "n1"}, ttl_seconds=600
        )
    )
    assert node.login() == 200
    assert node.manifest("acme/web", digest).content == pushed.manifest
    assert node.manifest("acme/admin", other).status_code == 401
    assert refused(lambda: node.push("acme/web", "2", image("from a node"))) == 401


def test_no_secret_reaches_the_registrys_log(agent_of: AgentOf, registry_log: Path) -> None:
    agent = agent_of("acme")
    agent.push("acme/web", "1", image("logged"))
    written = registry_log.read_text()
    assert agent.password not in written
    assert not any(token in written for token in agent.tokens.values())


def access_in(answer: requests.Response) -> object:
    claims = answer.json()["token"].split(".")[1]
    decoded = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
    assert decoded["aud"] == jwts.SERVICE
    return decoded["access"]

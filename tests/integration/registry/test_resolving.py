"""Tag to digest against the real registry, and the fake beside it held to the same answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from pytest_django import Settings

from registry import backends, credentials, resolver
from registry.errors import ImageNotFound, RegistryError, RegistryRefused, RegistryUnavailable
from registry.fakes import FakeResolver
from registry.ports import PullCredentials, PushCredentials, TagResolver, Wanted
from tests.registry_client import INDEX_TYPE, Client, Image, image, index_of, sha256

MISSING = "sha256:" + "0" * 64
Put = Callable[[str, str, Image], str]


@pytest.fixture(params=["real", "fake"])
def pair(request: pytest.FixtureRequest, registry_port: int) -> tuple[TagResolver, Put]:
    """A resolver, and a way to put an image where it looks."""
    host = f"127.0.0.1:{registry_port}"
    if request.param == "fake":
        fake = FakeResolver(host)
        return fake, lambda path, tag, pushed: fake.push(host, path, tag, pushed.manifest)
    agent: Client = request.getfixturevalue("agent_of")("acme")
    return backends.resolver(), agent.push


@pytest.fixture
def host(registry_port: int) -> str:
    return f"127.0.0.1:{registry_port}"


@pytest.mark.django_db(transaction=True)
def test_a_tag_stands_for_the_digest_that_was_pushed_last(pair: tuple[TagResolver, Put], host: str) -> None:
    source, put = pair
    first, second = image("first"), image("second")
    put("acme/moving", "1", first)
    assert source.resolve(host, "acme/moving", "1", None) == first.digest
    put("acme/moving", "1", second)
    assert source.resolve(host, "acme/moving", "1", None) == second.digest
    assert source.resolve(host, "acme/moving", None, first.digest) == first.digest
    assert source.resolve(host, "acme/moving", "1", first.digest) == first.digest


@pytest.mark.django_db(transaction=True)
def test_no_tag_is_latest(pair: tuple[TagResolver, Put], host: str) -> None:
    source, put = pair
    newest = image("newest")
    put("acme/tagless", "latest", newest)
    assert source.resolve(host, "acme/tagless", None, None) == newest.digest


@pytest.mark.django_db(transaction=True)
def test_what_the_registry_does_not_have_is_not_found(pair: tuple[TagResolver, Put], host: str) -> None:
    source, put = pair
    put("acme/known", "1", image("known"))
    for path, tag, digest in [("acme/known", "2", None), ("acme/unknown", "1", None), ("acme/known", None, MISSING)]:
        with pytest.raises(ImageNotFound) as missing:
            source.resolve(host, path, tag, digest)
        assert missing.value.code == "image.not_found"
        assert f"{host}/{path}" in str(missing.value)


@pytest.mark.django_db(transaction=True)
def test_all_faults_are_told_at_once(pair: tuple[TagResolver, Put], host: str) -> None:
    source, put = pair
    here = image("here")
    put("acme/here", "1", here)
    wanted = [
        Wanted(host, "acme/here", "1", None),
        Wanted(host, "acme/gone", "1", None),
        Wanted("elsewhere.example", "acme/web", "1", None),
        Wanted(host, "Acme/../web", "1", None),
        Wanted(host, "acme/here", "1", None),
    ]
    answers = source.resolve_many(wanted)
    assert len(answers) == 4
    assert answers[wanted[0]] == here.digest
    kinds = [type(answers[each]) for each in wanted[1:4]]
    assert kinds == [ImageNotFound, RegistryRefused, RegistryRefused]
    assert source.resolve_many([]) == {}


@pytest.mark.django_db(transaction=True)
def test_an_index_keeps_its_own_digest(agent_of: Callable[[str], Client], host: str) -> None:
    agent, one = agent_of("acme"), image("for one platform")
    agent.push("acme/multi", "amd64", one)
    index = index_of(one)
    agent.put_manifest("acme/multi", "1", index, INDEX_TYPE)
    assert backends.resolver().resolve(host, "acme/multi", "1", None) == sha256(index)


@pytest.mark.django_db(transaction=True)
def test_a_foreign_key_of_ours_is_refused_by_the_registry_and_said_so(
    agent_of: Callable[[str], Client], host: str, registry_settings: Settings, tmp_path: Path
) -> None:
    from registry import keys

    agent_of("acme").push("acme/web", "1", image("there"))
    other = tmp_path / "other.key", tmp_path / "other.crt"
    keys.ensure(*other)
    registry_settings.REGISTRY_TOKEN_KEY_FILE, registry_settings.REGISTRY_TOKEN_CERT_FILE = other
    with pytest.raises(RegistryRefused, match="401"):
        backends.resolver().resolve(host, "acme/web", "1", None)


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def resolver_at(port: int) -> resolver.Resolver:
    own = resolver.OwnRegistry(f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", lambda _: "Bearer x")
    return resolver.Resolver(own=own)


def test_a_registry_that_is_away_is_unavailable_and_retryable(free_port: int) -> None:
    with pytest.raises(RegistryUnavailable) as away:
        resolver_at(free_port).resolve(f"127.0.0.1:{free_port}", "acme/web", "1", None)
    assert away.value.retryable


def test_a_registry_that_never_answers_ends_within_the_bound(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "MAX_TOTAL_SECONDS", 0.5)
    monkeypatch.setattr("registry.connections.TIMEOUT_SECONDS", (1.0, 1.5))
    monkeypatch.setattr(resolver, "ATTEMPTS", 1)
    wanted = [Wanted(f"127.0.0.1:{silent_port}", f"acme/{n}", "1", None) for n in range(20)]
    began = time.monotonic()
    answers = resolver_at(silent_port).resolve_many(wanted)
    assert time.monotonic() - began < 1.4
    assert all(isinstance(answer, RegistryUnavailable) for answer in answers.values())
    for thread in threading.enumerate():
        if thread.name.startswith("resolve"):
            thread.join(timeout=5)


def test_a_foreign_name_that_leads_to_this_machine_reaches_nothing(silent_port: int) -> None:
    host = f"localhost:{silent_port}"
    guarded = resolver.Resolver(
        own=resolver.OwnRegistry("127.0.0.1:1", "http://127.0.0.1:1", lambda _: "Bearer x"), allowed_hosts=[host]
    )
    with pytest.raises(RegistryError, match="not public"):
        guarded.resolve(host, "acme/web", "1", None)


@pytest.mark.django_db(transaction=True)
def test_the_resolvers_answer_is_what_a_node_pulls_with_its_own_login(
    agent_of: Callable[[str], Client], login: Callable[[PushCredentials | PullCredentials], Client], host: str
) -> None:
    pushed = image("resolved, then pulled")
    agent_of("acme").push("acme/web", "release", pushed)
    digest = backends.resolver().resolve(host, "acme/web", "release", None)
    node = login(credentials.mint_pull(project_id=uuid4(), repositories=["acme/web"], requested_by={}, ttl_seconds=60))
    assert node.manifest("acme/web", digest).content == pushed.manifest

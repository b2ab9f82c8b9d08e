"""The resolver against foreign registries: recorded answers, and the ways in which one can be hostile."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import responses
import stamina

from registry import resolver
from registry.errors import ImageNotFound, RegistryRefused, RegistryUnavailable
from registry.ports import Wanted
from registry.resolver import MANIFEST_TYPES, OwnRegistry, Resolver
from tests.registry_client import sha256

MANIFEST = json.dumps({"schemaVersion": 2}).encode()
DIGEST = "sha256:" + "a" * 64
URL = "https://ghcr.io/v2/acme/web/manifests/1"
CHALLENGE = {
    "WWW-Authenticate": 'Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:acme/web:pull"'
}


@pytest.fixture(autouse=True)
def _no_waiting() -> Iterator[None]:
    stamina.set_testing(True, attempts=2)
    yield
    stamina.set_testing(False)


@pytest.fixture
def web() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


@pytest.fixture
def asked() -> Resolver:
    own = OwnRegistry("127.0.0.1:5000", "http://127.0.0.1:5000", lambda path: f"Bearer for-{path}")
    return Resolver(own=own, allowed_hosts=["ghcr.io", "docker.io"])


def head(web: responses.RequestsMock, status: int = 200, **headers: str) -> None:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    kind = sent.pop("Content-Type", MANIFEST_TYPES[0])
    web.add(responses.HEAD, URL, status=status, headers=sent, content_type=kind)


def ask(asked: Resolver, digest: str | None = None) -> str:
    return asked.resolve("ghcr.io", "acme/web", "1", digest)


def test_all_four_manifest_types_are_asked_for_in_one_header(web: responses.RequestsMock, asked: Resolver) -> None:
    head(web, Docker_Content_Digest=DIGEST)
    assert ask(asked) == DIGEST
    assert web.calls[0].request.headers["Accept"] == ", ".join(MANIFEST_TYPES)
    assert "Authorization" not in web.calls[0].request.headers


def test_where_head_names_no_digest_it_is_computed_from_the_bytes(web: responses.RequestsMock, asked: Resolver) -> None:
    head(web)
    web.add(responses.GET, URL, body=MANIFEST, content_type=MANIFEST_TYPES[2])
    assert ask(asked) == sha256(MANIFEST)


def test_a_challenge_is_met_at_a_known_realm_with_nothing_of_ours(web: responses.RequestsMock, asked: Resolver) -> None:
    web.add(responses.HEAD, URL, status=401, headers=CHALLENGE)
    web.add(responses.GET, "https://ghcr.io/token", json={"token": "anonymous"})
    head(web, Docker_Content_Digest=DIGEST)
    assert ask(asked) == DIGEST
    assert "Authorization" not in web.calls[1].request.headers
    assert web.calls[1].request.params == {"service": "ghcr.io", "scope": "repository:acme/web:pull"}
    assert web.calls[2].request.headers["Authorization"] == "Bearer anonymous"


@pytest.mark.parametrize("realm", ["https://evil.example/token", "http://ghcr.io/token", "https://169.254.169.254/"])
def test_an_unknown_realm_is_not_asked(web: responses.RequestsMock, asked: Resolver, realm: str) -> None:
    web.add(responses.HEAD, URL, status=401, headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'})
    with pytest.raises(RegistryRefused, match="not known to belong"):
        ask(asked)
    assert len(web.calls) == 1


def test_docker_hub_is_asked_where_it_answers(web: responses.RequestsMock, asked: Resolver) -> None:
    url = "https://registry-1.docker.io/v2/library/nginx/manifests/1"
    realm = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io"'
    web.add(responses.HEAD, url, status=401, headers={"WWW-Authenticate": realm})
    web.add(responses.GET, "https://auth.docker.io/token", json={"access_token": "anonymous"})
    web.add(responses.HEAD, url, headers={"Docker-Content-Digest": DIGEST}, content_type=MANIFEST_TYPES[1])
    assert asked.resolve("docker.io", "library/nginx", "1", None) == DIGEST


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(web: responses.RequestsMock, asked: Resolver, status: int) -> None:
    head(web, status, Location="http://169.254.169.254/latest/meta-data/")
    with pytest.raises(RegistryRefused, match="redirect"):
        ask(asked)
    assert len(web.calls) == 1


def test_another_content_than_was_asked_for_is_refused(web: responses.RequestsMock, asked: Resolver) -> None:
    wanted = "sha256:" + "b" * 64
    web.add(
        responses.HEAD,
        f"https://ghcr.io/v2/acme/web/manifests/{wanted}",
        headers={"Docker-Content-Digest": DIGEST},
        content_type=MANIFEST_TYPES[2],
    )
    with pytest.raises(RegistryRefused, match="another content"):
        ask(asked, wanted)


@pytest.mark.parametrize("named", ["sha512:" + "a" * 128, "sha256:" + "A" * 64, "sha256:abc", DIGEST + "\tx"])
def test_a_digest_that_is_not_sha256_is_refused(web: responses.RequestsMock, asked: Resolver, named: str) -> None:
    head(web, Docker_Content_Digest=named)
    with pytest.raises(RegistryRefused, match="not sha256"):
        ask(asked)


def test_a_manifest_that_nodes_do_not_pull_is_refused(web: responses.RequestsMock, asked: Resolver) -> None:
    old = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    web.add(responses.HEAD, URL, headers={"Docker-Content-Digest": DIGEST}, content_type=old)
    with pytest.raises(RegistryRefused, match="prettyjws"):
        ask(asked)


def test_an_endless_answer_is_cut_off(
    web: responses.RequestsMock, asked: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "MAX_MANIFEST_BYTES", 100)
    head(web)
    web.add(responses.GET, URL, body=b"x" * 101, content_type=MANIFEST_TYPES[0])
    with pytest.raises(RegistryRefused, match="more than 100 bytes"):
        ask(asked)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_time_may_heal_is_tried_again_and_then_unavailable(
    web: responses.RequestsMock, asked: Resolver, status: int
) -> None:
    head(web, status)
    with pytest.raises(RegistryUnavailable, match=str(status)):
        ask(asked)
    assert len(web.calls) == 2


def test_a_second_attempt_that_succeeds_is_the_answer(web: responses.RequestsMock, asked: Resolver) -> None:
    head(web, 503)
    head(web, 200, Docker_Content_Digest=DIGEST)
    assert ask(asked) == DIGEST


def test_what_is_not_there_is_asked_once(web: responses.RequestsMock, asked: Resolver) -> None:
    head(web, 404)
    with pytest.raises(ImageNotFound):
        ask(asked)
    assert len(web.calls) == 1


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"token": 7}', b'{"token": "a\\nb"}', b"\xff"])
def test_a_token_service_that_answers_nonsense_is_unavailable(
    web: responses.RequestsMock, asked: Resolver, body: bytes
) -> None:
    web.add(responses.HEAD, URL, status=401, headers=CHALLENGE)
    web.add(responses.GET, "https://ghcr.io/token", body=body)
    with pytest.raises(RegistryUnavailable, match="token"):
        ask(asked)


def test_our_own_authorization_goes_to_our_own_registry_alone(web: responses.RequestsMock, asked: Resolver) -> None:
    own = "http://127.0.0.1:5000/v2/acme/web/manifests/1"
    web.add(responses.HEAD, own, headers={"Docker-Content-Digest": DIGEST}, content_type=MANIFEST_TYPES[0])
    head(web, Docker_Content_Digest=DIGEST)
    asked.resolve("127.0.0.1:5000", "acme/web", "1", None)
    ask(asked)
    assert web.calls[0].request.headers["Authorization"] == "Bearer for-acme/web"
    assert "Authorization" not in web.calls[1].request.headers


@pytest.mark.parametrize(
    "wanted",
    [
        Wanted("evil.example", "acme/web", "1", None),
        Wanted("127.0.0.1:5001", "acme/web", "1", None),
        Wanted("ghcr.io", "acme/web/../../x", "1", None),
        Wanted("ghcr.io", "acme/web?x=", "1", None),
        Wanted("ghcr.io", "acme/web", "../tags/list", None),
        Wanted("ghcr.io", "acme/web", "1#x", None),
        Wanted("ghcr.io", "acme/web", None, "sha256:xyz"),
        Wanted("ghcr.io", "acme/web", None, "md5:" + "a" * 32),
    ],
)
def test_nothing_is_asked_of_strangers_or_in_odd_words(
    web: responses.RequestsMock, asked: Resolver, wanted: Wanted
) -> None:
    with pytest.raises(RegistryRefused):
        asked.resolve(wanted.host, wanted.path, wanted.tag, wanted.digest)
    assert len(web.calls) == 0

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from registry import challenges, connections
from registry.connections import ForbiddenAddress

PUBLIC = "93.184.216.34"
PRIVATE = [
    *("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1"),  # noqa: S104 - judged, not bound
    *("::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::"),
]
Resolve = Callable[..., None]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Says what the names lead to, look after look; the last answer stays."""

    def script(*answers: list[str]) -> None:
        left = list(answers)

        def lookup(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
            addresses = left.pop(0) if len(left) > 1 else left[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)

    return script


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_anywhere_private_is_refused(resolve: Resolve, address: str) -> None:
    resolve([address])
    with pytest.raises(ForbiddenAddress):
        connections.public_address("registry.example", 443)


def test_one_private_address_among_public_ones_is_enough(resolve: Resolve) -> None:
    resolve([PUBLIC, "10.0.0.1"])
    with pytest.raises(ForbiddenAddress):
        connections.public_address("registry.example", 443)


def test_a_name_whose_answer_changes_between_looks_is_connected_to_where_it_was_judged(
    resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer would be this machine."""
    resolve([PUBLIC], ["127.0.0.1"])
    dialled: list[tuple[str, int]] = []

    def dial(address: tuple[str, int], *_: object, **__: object) -> socket.socket:
        dialled.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr("urllib3.util.connection.create_connection", dial)
    with connections.opened(private_allowed=False) as session, pytest.raises(OSError, match=r"registry\.example"):
        connections.exchange(session, "GET", "https://registry.example/v2/", headers={}, max_bytes=10)
    assert dialled == [(PUBLIC, 443)]


def test_a_foreign_registry_is_not_spoken_to_in_clear() -> None:
    with connections.opened(private_allowed=False) as session, pytest.raises(OSError, match="No connection adapters"):
        connections.exchange(session, "GET", "http://registry.example/v2/", headers={}, max_bytes=10)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Bearer realm="https://a.example/t",service="s"', challenges.Challenge("https://a.example/t", "s")),
        ('bearer service="s", realm="https://a.example/t"', challenges.Challenge("https://a.example/t", "s")),
        ('Bearer realm="https://a.example/t"', challenges.Challenge("https://a.example/t", "")),
        ('Basic realm="x"', None),
        ("Bearer", None),
        ('Bearer service="s"', None),
        ("", None),
    ],
)
def test_a_challenge_is_read(header: str, expected: challenges.Challenge | None) -> None:
    assert challenges.parse(header) == expected


@pytest.mark.parametrize(
    ("realm", "host", "known"),
    [
        ("https://ghcr.io/token", "ghcr.io", True),
        ("https://auth.docker.io/token", "docker.io", True),
        ("https://registry.example:8443/token", "registry.example:8443", True),
        ("https://registry.example/token", "registry.example:8443", False),
        ("https://auth.docker.io/token", "ghcr.io", False),
        ("https://evil.example/token", "ghcr.io", False),
        ("https://ghcr.io.evil.example/token", "ghcr.io", False),
        ("https://ghcr.io@evil.example/token", "ghcr.io", False),
        ("https://user@ghcr.io/token", "ghcr.io", False),
        ("http://ghcr.io/token", "ghcr.io", False),
        ("https://ghcr.io:99999/token", "ghcr.io", False),
        ("//ghcr.io/token", "ghcr.io", False),
    ],
)
def test_a_realm_is_known_only_where_it_belongs(realm: str, host: str, known: bool) -> None:
    assert challenges.is_known(realm, host=host) is known

"""Options and credentials: typed, all faults at once, and no value of a credential in any of them."""

from __future__ import annotations

import pytest

from providers.errors import InvalidRequest
from providers.hetzner import HetznerProvider
from providers.local import LocalProvider
from providers.options import is_loopback, read, required
from providers.scaleway import ScalewayProvider


def test_every_fault_is_told_at_once() -> None:
    given = {"poll_seconds": "soon", "api_url": "http://example.org", "colour": "blue", "boot_deadline_seconds": "-1"}

    with pytest.raises(InvalidRequest) as refused:
        read(given, api_url="https://api", image="i", poll_seconds=2)

    assert set(refused.value.fields) == set(given)


def test_defaults_are_the_providers_own() -> None:
    options = read({}, api_url="https://api", image="debian", poll_seconds=2)

    assert (options.api_url, options.image, options.poll_seconds) == ("https://api", "debian", 2)
    assert options.boot_deadline_seconds == 900


@pytest.mark.parametrize("text", ["nan", "inf", "0", "", "1e400"])
def test_seconds_are_a_finite_number_above_nothing(text: str) -> None:
    with pytest.raises(InvalidRequest):
        read({"poll_seconds": text}, api_url="", image="", poll_seconds=1)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:80/v1", True),
        ("http://[::1]:8000", True),
        ("http://localhost", True),
        ("http://a.localhost:1", True),
        ("http://127.0.0.1.example.org", False),
        ("http://10.0.0.1", False),
        ("nonsense", False),
    ],
)
def test_plain_http_is_for_loopback_only(url: str, loopback: bool) -> None:
    assert is_loopback(url) is loopback
    if loopback:
        assert read({"api_url": url + "/"}, api_url="", image="", poll_seconds=1).api_url == url
    else:
        with pytest.raises(InvalidRequest):
            read({"api_url": url}, api_url="", image="", poll_seconds=1)


def test_a_url_with_credentials_in_it_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        read({"control_url": "https://me:secret@example.org"}, api_url="", image="", poll_seconds=1)


def test_missing_and_unknown_credentials_are_named_and_never_shown() -> None:
    with pytest.raises(InvalidRequest) as refused:
        required({"tokken": "s3cret", "secret_key": "s3cret"}, "token", "secret_key")

    assert refused.value.fields == {"token": "missing", "tokken": "unknown"}
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("provider", "options", "credentials", "wrong"),
    [
        (HetznerProvider, {}, {}, "token"),
        (HetznerProvider, {"zones": "fsn1"}, {"token": "t" * 64}, "zones"),
        (ScalewayProvider, {}, {"access_key": "SCW"}, "secret_key"),
        (
            ScalewayProvider,
            {},
            {"access_key": "x", "secret_key": "s3cret", "project_id": "y"},
            "access_key",
        ),
        (ScalewayProvider, {"root_gb": "big"}, {"access_key": "a", "secret_key": "b", "project_id": "c"}, "root_gb"),
        (LocalProvider, {}, {}, "node_dir"),
        (LocalProvider, {"node_dir": "n", "volumes_dir": "v", "colour": "blue"}, {}, "colour"),
        (LocalProvider, {"node_dir": "n", "volumes_dir": "v"}, {"token": "s3cret"}, "token"),
    ],
)
def test_a_provider_refuses_what_it_does_not_know_when_it_is_constructed(
    provider: type, options: dict[str, str], credentials: dict[str, str], wrong: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        provider(options, credentials)

    assert wrong in refused.value.fields
    assert "s3cret" not in str(refused.value)

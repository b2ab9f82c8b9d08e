from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from registry import distribution
from registry.distribution import RegistrySettings, TlsFiles

SETTINGS = RegistrySettings(
    storage=Path("/srv/registry/images"),
    address="127.0.0.1:5000",
    realm="http://127.0.0.1:8000/registry/token",
    service="sam-registry",
    issuer="sam-registry-tokens",
    certificate_bundle=Path("/srv/registry/token.crt"),
    http_secret="s" * 64,
)


def test_the_file_says_what_the_registry_reads() -> None:
    config = yaml.safe_load(distribution.render(SETTINGS))
    assert config["auth"] == {
        "token": {
            "realm": "http://127.0.0.1:8000/registry/token",
            "service": "sam-registry",
            "issuer": "sam-registry-tokens",
            "rootcertbundle": "/srv/registry/token.crt",
        }
    }
    assert config["storage"]["filesystem"] == {"rootdirectory": "/srv/registry/images"}
    assert config["storage"]["delete"] == {"enabled": False}
    assert config["storage"]["maintenance"]["uploadpurging"]["enabled"] is True
    assert config["http"]["addr"] == "127.0.0.1:5000"


def test_there_is_no_debug_port_and_no_tls_unless_given() -> None:
    http = yaml.safe_load(distribution.render(SETTINGS))["http"]
    assert set(http) == {"addr", "secret", "headers"}
    http = yaml.safe_load(distribution.render(replace(SETTINGS, tls=TlsFiles(Path("/c"), Path("/k")))))["http"]
    assert http["tls"] == {"certificate": "/c", "key": "/k", "minimumtls": "tls1.2"}


def test_equal_settings_give_equal_bytes() -> None:
    assert distribution.render(SETTINGS) == distribution.render(replace(SETTINGS))


@pytest.mark.parametrize(
    ("address", "loopback"),
    [
        *(("127.0.0.1", True), ("127.9.9.9", True), ("[::1]", True), ("localhost", True)),
        *(
            ("0.0.0.0", False),  # noqa: S104 - judged, not bound
            ("", False),
            ("10.0.0.1", False),
            ("registry.example", False),
            ("localhost.example", False),
        ),
    ],
)
def test_only_loopback_counts_as_out_of_reach(address: str, loopback: bool) -> None:
    assert distribution.is_loopback(address) is loopback

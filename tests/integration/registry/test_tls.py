"""Off loopback the registry speaks TLS; its certificate may be of an authority of the installation's own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django.core.management import call_command
from pytest_django import Settings

from registry import backends, resolver
from registry.errors import ImageNotFound, RegistryUnavailable
from scripts import registries


def certificate_for_loopback(directory: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry.test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = directory / "tls.crt", directory / "tls.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@pytest.fixture
def authority(
    tmp_path: Path, registry_settings: Settings, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The authority's certificate of a registry that runs at REGISTRY_URL and speaks TLS."""
    monkeypatch.setattr(resolver, "ATTEMPTS", 1)
    certificate, key = certificate_for_loopback(tmp_path)
    registry_settings.REGISTRY_URL = f"https://127.0.0.1:{free_port}"
    realm = "https://127.0.0.1/registry/token"
    call_command(
        "registry_setup", state_dir=tmp_path, port=free_port, realm=realm, tls_certificate=certificate, tls_key=key
    )
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen(registries.command(tmp_path / "registry" / "config.yml"), stdout=log, stderr=log)
    try:
        yield certificate
    finally:
        server.kill()
        server.wait()


def test_an_own_registry_is_believed_by_its_authority_and_by_no_other(
    authority: Path, registry_settings: Settings, free_port: int
) -> None:
    host = f"127.0.0.1:{free_port}"
    registry_settings.REGISTRY_CA_FILE = authority
    with pytest.raises(ImageNotFound):  # asked and answered, with a token that it believed
        answered_by_now(host)
    registry_settings.REGISTRY_CA_FILE = None
    with pytest.raises(RegistryUnavailable, match="SSLError"):
        backends.resolver().resolve(host, "acme/web", "1", None)


def answered_by_now(host: str) -> str:
    """Ask until the server listens: a refused connection is no answer yet. At most five seconds."""
    until = time.monotonic() + 5
    while True:
        try:
            return backends.resolver().resolve(host, "acme/web", "1", None)
        except RegistryUnavailable:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)

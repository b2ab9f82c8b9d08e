"""A certificate authority for one demonstration, and the certificate that it gives to the demonstration's address."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAYS = 30


@dataclass(frozen=True, slots=True)
class Authority:
    """`root` is what everybody trusts; `server` holds certificate and key of the address, as HAProxy wants them."""

    root: Path
    server: Path

    def context(self) -> ssl.SSLContext:
        """Trust in this authority and no other."""
        return ssl.create_default_context(cafile=str(self.root))


def make(directory: Path, address: str) -> Authority:
    """Both files, made anew; the authority's own key is dropped at once, so it vouches for nothing else, ever."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SAM demonstration")])
    root = _signed(name, name, authority_key, authority_key, [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(for_certificates=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), False),
    ])  # fmt: skip
    server = _signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)]), name, server_key, authority_key, [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (_usage(for_certificates=False), True),
        (x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), False),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), False),
    ])  # fmt: skip
    made = Authority(directory / "ca.pem", directory / "server.pem")
    made.root.write_bytes(_pem(root))
    made.server.touch(mode=0o600)
    made.server.write_bytes(_pem(server) + _key_pem(server_key))
    return made


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=DAYS))
    )
    for extension, is_critical in extensions:
        builder = builder.add_extension(extension, critical=is_critical)
    return builder.sign(by, hashes.SHA256())


def _usage(*, for_certificates: bool) -> x509.KeyUsage:
    """Python 3.13 and newer refuse an authority that does not say that it signs certificates (RFC 5280, 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=not for_certificates, key_cert_sign=for_certificates, crl_sign=for_certificates,
        content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )

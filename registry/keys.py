"""The token service's key pair and the certificate by which the registry knows it. No Django.

EC P-256, because Registry 2.8 refuses Ed25519 (and panics on such a certificate in `rootcertbundle`). The registry
knows the key by the certificate in the token's `x5c` header: `kid` has had more than one form, and one of them drops
leading zero bytes, which fails for about one key in 128.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey

from .errors import KeyUnusable

CERTIFICATE_LIFETIME = timedelta(days=3650)
# The registry reads its bundle at start only, so a certificate is renewed long before anything would stop.
RENEW_BEFORE = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its certificate (DER, base64) as the `x5c` header takes it."""

    private: ECKey
    certificate: str


def ensure(key_file: Path, certificate_file: Path) -> bool:
    """Make what is missing, 0600, and leave what is usable alone. Whether anything was written.

    A key that cannot be read is never replaced: tokens signed by it may be in use. A certificate of another key, or one
    with less than a year to live, is. Safe to run twice at once: the first key to appear is everybody's.
    Raises KeyUnusable.
    """
    made_key = not key_file.exists() and _write_first(key_file, _new_key_pem())
    key = _private_key(key_file)
    if _is_current(certificate_file, key):
        return made_key
    _replace(certificate_file, _certificate_pem(key))
    return True


def ensure_text(path: Path) -> str:
    """A random text that is made once and kept, 0600 (the registry's `http.secret`)."""
    if not path.exists():
        _write_first(path, secrets.token_hex(32).encode())
    return path.read_text(encoding="ascii").strip()


def load(key_file: Path, certificate_file: Path) -> SigningKey:
    """The pair, from memory as long as neither file changed. Raises KeyUnusable."""
    return _load(key_file, _version(key_file), certificate_file, _version(certificate_file))


@lru_cache(maxsize=4)
def _load(key_file: Path, _key_version: object, certificate_file: Path, _certificate_version: object) -> SigningKey:
    key = _private_key(key_file)
    certificate = _certificate(certificate_file)
    if certificate.public_key() != key.public_key():
        raise KeyUnusable(certificate_file, f"it certifies another key than {key_file}")
    der = certificate.public_bytes(serialization.Encoding.DER)
    return SigningKey(ECKey.import_key(_pem(key)), base64.b64encode(der).decode("ascii"))


def _version(path: Path) -> tuple[int, int, int]:
    try:
        found = path.stat()
    except OSError as fault:
        raise KeyUnusable(path, _reason(fault)) from fault
    return found.st_ino, found.st_mtime_ns, found.st_size


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise KeyUnusable(path, "others than its owner can read it (chmod 600)")
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as fault:
        raise KeyUnusable(path, _reason(fault)) from fault
    if not (isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)):
        raise KeyUnusable(path, "it is not a P-256 key, the only kind that ES256 and Registry 2.8 both take")
    return key


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise KeyUnusable(path, _reason(fault)) from fault


def _is_current(path: Path, key: ec.EllipticCurvePrivateKey) -> bool:
    try:
        certificate = _certificate(path)
    except KeyUnusable:
        return False
    lives_on = certificate.not_valid_after_utc - datetime.now(UTC) > RENEW_BEFORE
    return lives_on and certificate.public_key() == key.public_key()


def _reason(fault: Exception) -> str:
    """The system's words for a file that cannot be read; a parser's words may quote the key, so they are left out."""
    return fault.strerror or type(fault).__name__ if isinstance(fault, OSError) else "it does not hold one in PEM"


def _new_key_pem() -> bytes:
    return _pem(ec.generate_private_key(ec.SECP256R1()))


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _certificate_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "SAM registry tokens")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))  # a registry whose clock is a little behind ours
        .not_valid_after(now + CERTIFICATE_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_first(path: Path, content: bytes) -> bool:
    """Write a file unless there is one by now; the loser of a race keeps the winner's."""
    draft = _draft(path, content)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    _sync(path.parent)
    return True


def _replace(path: Path, content: bytes) -> None:
    _draft(path, content).replace(path)
    _sync(path.parent)


def _draft(path: Path, content: bytes) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    return draft


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> bool:
    """Replace a file, 0600, if its content is another. Whether it was written."""
    if path.exists() and path.read_bytes() == content:
        return False
    _replace(path, content)
    return True

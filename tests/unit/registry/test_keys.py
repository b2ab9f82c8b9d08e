from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from registry import keys
from registry.errors import KeyUnusable


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "deep" / "token.key", tmp_path / "deep" / "token.crt"


def test_a_missing_pair_is_made_for_the_owner_alone(pair: tuple[Path, Path]) -> None:
    assert keys.ensure(*pair)
    assert [stat.S_IMODE(path.stat().st_mode) for path in pair] == [0o600, 0o600]
    assert stat.S_IMODE(pair[0].parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in pair[0].parent.iterdir()) == ["token.crt", "token.key"]


def test_a_usable_pair_is_left_alone(pair: tuple[Path, Path]) -> None:
    keys.ensure(*pair)
    before = [path.read_bytes() for path in pair]
    assert not keys.ensure(*pair)
    assert [path.read_bytes() for path in pair] == before


def test_everybody_at_once_gets_one_key(pair: tuple[Path, Path]) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: keys.ensure(*pair), range(8)))
    assert keys.load(*pair).certificate


def test_the_certificate_is_of_the_key_and_p256(pair: tuple[Path, Path]) -> None:
    keys.ensure(*pair)
    certificate = x509.load_pem_x509_certificate(pair[1].read_bytes())
    public = certificate.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    assert public.curve.name == "secp256r1"


def test_a_certificate_is_renewed_a_year_before_it_ends_and_the_key_stays(pair: tuple[Path, Path]) -> None:
    keys.ensure(*pair)
    key, certificate = (path.read_bytes() for path in pair)
    with time_machine.travel(datetime.now(UTC) + timedelta(days=3650 - 364), tick=False):
        assert keys.ensure(*pair)
    assert pair[0].read_bytes() == key
    assert pair[1].read_bytes() != certificate


def test_a_certificate_of_another_key_is_replaced_and_never_used(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "other.key", tmp_path / "other.crt"
    keys.ensure(*other)
    keys.ensure(*pair)
    pair[1].write_bytes(other[1].read_bytes())
    with pytest.raises(KeyUnusable, match="another key"):
        keys.load(*pair)
    assert keys.ensure(*pair)
    keys.load(*pair)


def test_a_key_that_others_can_read_is_refused(pair: tuple[Path, Path]) -> None:
    keys.ensure(*pair)
    pair[0].chmod(0o640)
    with pytest.raises(KeyUnusable, match="chmod 600"):
        keys.ensure(*pair)


def test_a_key_of_another_kind_is_refused_with_the_reason(pair: tuple[Path, Path]) -> None:
    pair[0].parent.mkdir()
    pair[0].touch(0o600)
    pair[0].write_bytes(
        ed25519.Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    with pytest.raises(KeyUnusable, match="P-256"):
        keys.ensure(*pair)


def test_what_is_no_key_is_named_without_its_content(pair: tuple[Path, Path]) -> None:
    pair[0].parent.mkdir()
    pair[0].touch(0o600)
    pair[0].write_text("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n")
    with pytest.raises(KeyUnusable) as refused:
        keys.ensure(*pair)
    assert "canary" not in str(refused.value)
    assert str(pair[0]) in str(refused.value)


def test_a_missing_key_says_which_and_what_to_do(pair: tuple[Path, Path]) -> None:
    with pytest.raises(KeyUnusable, match="registry_setup"):
        keys.load(*pair)


def test_a_replaced_pair_is_seen_without_a_restart(pair: tuple[Path, Path]) -> None:
    keys.ensure(*pair)
    first = keys.load(*pair)
    assert keys.load(*pair) is first
    for path in pair:
        path.unlink()
    keys.ensure(*pair)
    assert keys.load(*pair).certificate != first.certificate


def test_a_kept_text_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "http.secret"
    assert keys.ensure_text(path) == keys.ensure_text(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

from __future__ import annotations

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt

from registry import jwts, keys
from registry.jwts import LoginClaims
from registry.keys import SigningKey

NOW = 1_800_000_000
CLAIMS = LoginClaims(username="push-1", jti="1" * 32, expires_at=NOW + 900)


def key_in(directory: Path) -> SigningKey:
    files = directory / "token.key", directory / "token.crt"
    keys.ensure(*files)
    return keys.load(*files)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> SigningKey:
    return key_in(tmp_path_factory.mktemp("key"))


def part(token: str, index: int) -> dict[str, Any]:
    text = token.split(".")[index]
    return json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def test_a_password_says_who_and_until_when_and_nothing_about_rights(key: SigningKey) -> None:
    password = jwts.sign_login(key, CLAIMS, now=NOW)
    assert jwts.read_login(key, password, now=NOW) == CLAIMS
    assert set(part(password, 1)) == {"iss", "aud", "sub", "jti", "iat", "exp"}


def test_a_password_ends_to_the_second(key: SigningKey) -> None:
    password = jwts.sign_login(key, CLAIMS, now=NOW)
    assert jwts.read_login(key, password, now=NOW + 899) == CLAIMS
    assert jwts.read_login(key, password, now=NOW + 900) is None


def test_a_password_of_another_key_is_refused(key: SigningKey, tmp_path: Path) -> None:
    assert jwts.read_login(key, jwts.sign_login(key_in(tmp_path), CLAIMS, now=NOW), now=NOW) is None


def test_the_public_key_is_no_shared_secret(key: SigningKey) -> None:
    """Algorithm confusion: HS256 keyed with what everybody knows."""
    password = jwts.sign_login(key, CLAIMS, now=NOW)
    signed = f"{encoded({'alg': 'HS256', 'typ': jwts.LOGIN_TYPE})}.{password.split('.')[1]}"
    for known in (key.certificate.encode(), base64.b64decode(key.certificate), key.private.as_pem(private=False)):
        forged = base64.urlsafe_b64encode(hmac.digest(known, signed.encode(), "sha256")).decode().rstrip("=")
        assert jwts.read_login(key, f"{signed}.{forged}", now=NOW) is None


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "changed",
    [{"iss": jwts.ISSUER}, {"aud": jwts.SERVICE}, {"exp": "never"}, {"exp": None}, {"sub": 7}, {"jti": None}],
)
def test_a_password_with_a_claim_out_of_place_is_refused_though_signed(
    key: SigningKey, changed: dict[str, object]
) -> None:
    body = {"iss": jwts.LOGIN_ISSUER, "aud": jwts.LOGIN_AUDIENCE, "sub": "push-1", "jti": "1", "exp": NOW + 900}
    header = {"alg": "ES256", "typ": jwts.LOGIN_TYPE}
    signed = jwt.encode(header, {**body, **changed}, key.private, algorithms=["ES256"])
    assert jwts.read_login(key, signed, now=NOW) is None
    plain = jwt.encode({"alg": "ES256", "typ": "JWT"}, body, key.private, algorithms=["ES256"])
    assert jwts.read_login(key, plain, now=NOW) is None


@pytest.mark.parametrize("text", ["", ".", "..", "a.b.c", "\x00", "é.é.é", "a" * 5000])
def test_no_text_is_an_error(key: SigningKey, text: str) -> None:
    assert jwts.read_login(key, text, now=NOW) is None


def bearer(key: SigningKey, not_after: int) -> jwts.Bearer:
    return jwts.sign_bearer(
        key, subject="push-1", jti="2", access={"acme/web": ["push", "pull"]}, now=NOW, not_after=not_after
    )


def test_a_bearer_token_is_what_the_registry_reads(key: SigningKey) -> None:
    signed = bearer(key, NOW + 900)
    header, claims = part(signed.token, 0), part(signed.token, 1)
    assert header == {"alg": "ES256", "typ": "JWT", "x5c": [key.certificate]}
    assert (claims["aud"], claims["iss"]) == ("sam-registry", "sam-registry-tokens")
    assert claims["access"] == [{"type": "repository", "name": "acme/web", "actions": ["pull", "push"]}]


@pytest.mark.parametrize(("remaining", "lifetime"), [(900, 300), (300, 300), (120, 120), (5, 5)])
def test_with_the_registrys_leeway_a_bearer_token_ends_when_it_should(
    key: SigningKey, remaining: int, lifetime: int
) -> None:
    signed = bearer(key, NOW + remaining)
    assert part(signed.token, 1)["exp"] + jwts.REGISTRY_LEEWAY_SECONDS == NOW + lifetime
    assert signed.expires_in_seconds == max(60, lifetime)

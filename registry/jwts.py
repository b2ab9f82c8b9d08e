"""The two kinds of token that our key signs: a login's password, and the registry's bearer token. No Django.

They are told apart three times over, so that a password presented to the registry is worth nothing: another audience,
another issuer, another `typ`, and no `x5c` by which the registry could find a key.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from . import scopes
from .keys import SigningKey

ALGORITHM = "ES256"
SERVICE = "sam-registry"
ISSUER = "sam-registry-tokens"
LOGIN_ISSUER = "sam-control-plane"
LOGIN_AUDIENCE = "sam-registry-login"
LOGIN_TYPE = "sam-login+jwt"

# Both are the registry's own: it accepts a token 60 s past its `exp`, and Docker takes `expires_in` as 60 at least.
REGISTRY_LEEWAY_SECONDS = 60
MIN_EXPIRES_IN_SECONDS = 60
BEARER_LIFETIME_SECONDS = 300
MAX_PASSWORD_LENGTH = 4096


@dataclass(frozen=True, slots=True)
class LoginClaims:
    """What a password says of itself; what it may do stands in the audit row of its `jti`. Ends in Unix seconds."""

    username: str
    jti: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Bearer:
    """A registry token. `expires_in_seconds` and `issued_at` (Unix seconds) are for the token service's answer."""

    token: str
    issued_at: int
    expires_in_seconds: int


def sign_login(key: SigningKey, claims: LoginClaims, *, now: int) -> str:
    """The password of a login: signed, so that nothing of it need be kept to recognise it."""
    body = {
        "iss": LOGIN_ISSUER,
        "aud": LOGIN_AUDIENCE,
        "sub": claims.username,
        "jti": claims.jti,
        "iat": now,
        "exp": claims.expires_at,
    }
    return jwt.encode({"alg": ALGORITHM, "typ": LOGIN_TYPE}, body, key.private, algorithms=[ALGORITHM])


def read_login(key: SigningKey, password: str, *, now: int) -> LoginClaims | None:
    """The claims of a password that our key signed and that has not expired; None for any other, whatever is wrong."""
    if len(password) > MAX_PASSWORD_LENGTH:
        return None
    decoded = _verified(key.private, password)
    if decoded is None or decoded.header.get("typ") != LOGIN_TYPE:
        return None
    return _login_claims(decoded.claims, now)


def _verified(key: ECKey, text: str) -> jwt.Token | None:
    try:
        return jwt.decode(text, key, algorithms=[ALGORITHM])
    except (JoseError, ValueError, TypeError):
        return None


def _login_claims(claims: Mapping[str, Any], now: int) -> LoginClaims | None:
    if claims.get("iss") != LOGIN_ISSUER or claims.get("aud") != LOGIN_AUDIENCE:
        return None
    username, jti, expires_at = claims.get("sub"), claims.get("jti"), claims.get("exp")
    if not (isinstance(username, str) and isinstance(jti, str) and isinstance(expires_at, int)):
        return None
    return LoginClaims(username, jti, expires_at) if now < expires_at else None


def sign_bearer(
    key: SigningKey, *, subject: str, jti: str, access: Mapping[str, Collection[str]], now: int, not_after: int
) -> Bearer:
    """A token that the registry accepts until `not_after` (Unix seconds) or for five minutes, whichever is less.

    `exp` is set back by the registry's leeway, so that the end that was promised is the end that is kept.
    """
    lifetime = min(BEARER_LIFETIME_SECONDS, not_after - now)
    body = {
        "iss": ISSUER,
        "aud": SERVICE,  # one string: 2.8 does not read a list
        "sub": subject,
        "jti": jti,
        "iat": now,
        "nbf": now,
        "exp": now + lifetime - REGISTRY_LEEWAY_SECONDS,
        "access": scopes.as_access(access),
    }
    header = {"alg": ALGORITHM, "typ": "JWT", "x5c": [key.certificate]}
    token = jwt.encode(header, body, key.private, algorithms=[ALGORITHM])
    return Bearer(token, now, max(lifetime, MIN_EXPIRES_IN_SECONDS))

"""The `WWW-Authenticate: Bearer` challenge of a registry, and whether its realm is one we may ask. Pure.

A challenge is foreign input that names a URL: followed blindly, it sends whatever we hold to whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_PARAMETER = re.compile(r'([a-z_]+)="([^"]{0,1024})"', re.ASCII)

# Where a registry and its token service have different names. Source: the challenge that each answers to GET /v2/.
ENDPOINTS: Mapping[str, str] = {"docker.io": "registry-1.docker.io"}
REALMS: Mapping[str, frozenset[str]] = {
    "docker.io": frozenset({"auth.docker.io"}),
    "registry.gitlab.com": frozenset({"gitlab.com"}),
}


@dataclass(frozen=True, slots=True)
class Challenge:
    realm: str
    service: str


def parse(header: str) -> Challenge | None:
    """The Bearer challenge in a header, None if there is none that names a realm."""
    scheme, _, rest = header.partition(" ")
    if scheme.lower() != "bearer":
        return None
    found = dict(_PARAMETER.findall(rest))
    return Challenge(found["realm"], found.get("service", "")) if "realm" in found else None


def is_known(realm: str, *, host: str, also: Collection[str] = ()) -> bool:
    """Whether a realm is https at the registry's own host, or at one that is known to speak for it."""
    try:
        parts = urlsplit(realm)
        port = parts.port
    except ValueError:
        return False
    netloc = parts.hostname if port in (None, 443) else f"{parts.hostname}:{port}"
    plain = parts.username is None and parts.password is None and not parts.fragment
    return parts.scheme == "https" and plain and netloc in {endpoint(host), host, *REALMS.get(host, ()), *also}


def endpoint(host: str) -> str:
    """HOST[:PORT] to connect to for a host as it stands in image names."""
    return ENDPOINTS.get(host, host)

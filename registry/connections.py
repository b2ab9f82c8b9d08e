"""HTTP to registries: no redirects, no ambient credentials, bounded bodies, no way into private networks. No Django.

An image name is foreign input, so the host in it must not become a way to reach what only this machine can reach. The
address is judged at the moment of connecting and is the one connected to: a name that answers differently the second
time gains nothing.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

TIMEOUT_SECONDS = (3.0, 10.0)  # to connect, and between bytes
MAX_SECONDS = 20.0  # for one exchange, however slowly it trickles
_CHUNK = 64 * 1024


class ForbiddenAddress(Exception):
    """A name that leads to a private, loopback, link-local or otherwise non-public address."""


class BodyTooLarge(Exception):
    """An answer with more bytes than it may have."""


class TooSlow(requests.Timeout):
    """An exchange that stayed within each timeout and still took too long."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@contextmanager
def opened(*, private_allowed: bool, ca_file: Path | None = None) -> Iterator[requests.Session]:
    """A session for one registry. `private_allowed` is for the installation's own registry alone."""
    session = requests.Session()
    session.trust_env = False  # a .netrc or a proxy of this machine is no business of a foreign registry
    session.verify = str(ca_file) if ca_file else True
    if not private_allowed:
        session.mount("https://", _PublicAdapter())
        session.adapters.pop("http://")  # requests then raises InvalidSchema: foreign registries speak TLS
    try:
        yield session
    finally:
        session.close()


def exchange(
    session: requests.Session,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    max_bytes: int,
    params: Mapping[str, str] | None = None,
) -> Answer:
    """One request, no redirect followed. Raises requests.RequestException, BodyTooLarge, ForbiddenAddress."""
    ends_at = time.monotonic() + MAX_SECONDS
    # identity: a body that unpacks to more than it weighs is not read at all
    sent = {"Accept-Encoding": "identity", **headers}
    with session.request(
        method, url, headers=sent, params=params, timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True
    ) as response:
        body = _body(response, max_bytes, ends_at)
        return Answer(response.status_code, response.headers, body)


def _body(response: requests.Response, max_bytes: int, ends_at: float) -> bytes:
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise BodyTooLarge(f"more than {max_bytes} bytes")
        if time.monotonic() > ends_at:
            raise TooSlow(f"no end after {MAX_SECONDS:.0f} s")
    return bytes(body)


def public_address(host: str, port: int) -> str:
    """An address of a host. Raises ForbiddenAddress if any of its addresses is not public, OSError if it has none."""
    addresses = [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in addresses:
        if not _is_public(address):
            raise ForbiddenAddress(f"{host} leads to an address that is not public")
    return addresses[0]


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None) or getattr(parsed, "sixtofour", None)
    if mapped is not None:
        parsed = mapped
    return parsed.is_global and not parsed.is_multicast


class _PublicConnection(HTTPSConnection):
    """TLS to the host's name, TCP to an address of it that was judged."""

    def _new_conn(self) -> socket.socket:
        host = self._dns_host
        try:
            self._dns_host = public_address(host, self.port or 443)
        except OSError as fault:
            raise NewConnectionError(self, f"{host} has no address") from fault
        try:
            return super()._new_conn()
        finally:
            self._dns_host = host


class _PublicPool(HTTPSConnectionPool):
    ConnectionCls = _PublicConnection


class _PublicAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"https": _PublicPool}

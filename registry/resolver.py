"""Which digest a tag stands for, asked of the registry itself. No Django.

Index digests are kept, so that one release runs on machines of different kinds; a digest is believed from the header of
an answer, and computed where we have the bytes. Only allowed hosts are asked, only their known token realms, and only
the installation's own registry may lie at a private address or get an Authorization of ours.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import requests
import stamina

from . import challenges, connections, namespaces
from .connections import Answer
from .errors import ImageNotFound, RegistryError, RegistryRefused, RegistryUnavailable
from .ports import Wanted

MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
MAX_MANIFEST_BYTES = 4 * 1024 * 1024  # what Distribution itself takes at most
MAX_TOKEN_BYTES = 64 * 1024
ATTEMPTS = 3
MAX_RETRY_SECONDS = 15.0
MAX_WORKERS = 8
MAX_TOTAL_SECONDS = 30.0

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,39}\])(?::[0-9]{1,5})?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class OwnRegistry:
    """The installation's registry: `host` as in image names, `url` where it answers, and how to read from it.

    `authorization_for` gives the Authorization header for one repository, made here and sent to `url` alone.
    """

    host: str
    url: str
    authorization_for: Callable[[str], str]
    ca_file: Path | None = None


class Resolver:
    """The real one. Safe to share between threads: it keeps nothing between calls."""

    def __init__(self, *, own: OwnRegistry, allowed_hosts: Collection[str] = ()):
        self._own = own
        self._allowed = frozenset(allowed_hosts)

    def resolve(self, host: str, path: str, tag: str | None, digest: str | None) -> str:
        """See ports.TagResolver. At most three attempts within 15 s, each exchange at most 20 s."""
        wanted = Wanted(host, path, tag, digest)
        self._check(wanted)
        for attempt in stamina.retry_context(
            on=RegistryUnavailable, attempts=ATTEMPTS, timeout=MAX_RETRY_SECONDS, wait_initial=0.1, wait_max=2.0
        ):
            with attempt:
                return self._ask(wanted)
        raise AssertionError("a retry context ends by an answer or an error")

    def resolve_many(self, wanted: Iterable[Wanted]) -> Mapping[Wanted, str | RegistryError]:
        """See ports.TagResolver. At most 30 s for all; what has no answer by then is unavailable."""
        distinct = list(dict.fromkeys(wanted))
        if not distinct:
            return {}
        pool = ThreadPoolExecutor(max_workers=min(MAX_WORKERS, len(distinct)), thread_name_prefix="resolve")
        futures = {each: pool.submit(self._settled, each) for each in distinct}
        wait(futures.values(), timeout=MAX_TOTAL_SECONDS)
        pool.shutdown(wait=False, cancel_futures=True)
        return {each: _outcome(each, future) for each, future in futures.items()}

    def _settled(self, wanted: Wanted) -> str | RegistryError:
        try:
            return self.resolve(wanted.host, wanted.path, wanted.tag, wanted.digest)
        except RegistryError as fault:
            return fault

    def _check(self, wanted: Wanted) -> None:
        """Raises RegistryRefused for a host that nobody allowed, and for parts no reference has: they go into a URL."""
        if wanted.host != self._own.host and wanted.host not in self._allowed:
            raise RegistryRefused(str(wanted), f"{wanted.host} is not among the registries allowed here")
        well_formed = (
            _HOST.fullmatch(wanted.host)
            and namespaces.is_repository(wanted.path)
            and namespaces.TAG.fullmatch(wanted.tag or "latest")
            and (wanted.digest is None or namespaces.DIGEST.fullmatch(wanted.digest))
        )
        if not well_formed:
            raise RegistryRefused(str(wanted)[:300], "it is not an image reference with a sha256 digest or a tag")

    def _ask(self, wanted: Wanted) -> str:
        is_own = wanted.host == self._own.host
        with (
            _translated(wanted),
            connections.opened(private_allowed=is_own, ca_file=self._own.ca_file if is_own else None) as session,
        ):
            if is_own:
                headers = {"Authorization": self._own.authorization_for(wanted.path)}
                return _digest(session, self._own.url, wanted, headers)
            return _digest(session, f"https://{challenges.endpoint(wanted.host)}", wanted, {})


@contextmanager
def _translated(wanted: Wanted) -> Iterator[None]:
    """The faults of the way there, in our words; a library's text may quote headers, so only its class is told."""
    try:
        yield
    except connections.ForbiddenAddress as fault:
        raise RegistryRefused(str(wanted), "the registry's name leads to an address that is not public") from fault
    except connections.BodyTooLarge as fault:
        raise RegistryRefused(str(wanted), f"the registry's answer has {fault}") from fault
    except requests.Timeout as fault:
        raise RegistryUnavailable(wanted.host, "it did not answer in time") from fault
    except requests.RequestException as fault:
        raise RegistryUnavailable(wanted.host, f"the connection failed ({type(fault).__name__})") from fault


def _outcome(wanted: Wanted, future: Future[str | RegistryError]) -> str | RegistryError:
    if not future.done() or future.cancelled():
        return RegistryUnavailable(wanted.host, f"no answer about {wanted} within {MAX_TOTAL_SECONDS:.0f} s")
    return future.result()


def _digest(session: requests.Session, base: str, wanted: Wanted, headers: Mapping[str, str]) -> str:
    """HEAD, and GET where the registry leaves the digest out of its answer to HEAD."""
    answer, headers = _manifest(session, "HEAD", base, wanted, headers)
    named = answer.headers.get("Docker-Content-Digest", "")
    if not named:
        answer, _ = _manifest(session, "GET", base, wanted, headers)
        named = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
    if not namespaces.DIGEST.fullmatch(named):
        raise RegistryRefused(str(wanted), f"the registry names a digest that is not sha256: {named[:80]!r}")
    if wanted.digest is not None and named != wanted.digest:
        raise RegistryRefused(str(wanted), f"the registry answered with {named}, another content than was asked for")
    return named


def _manifest(
    session: requests.Session, method: str, base: str, wanted: Wanted, headers: Mapping[str, str]
) -> tuple[Answer, Mapping[str, str]]:
    """The answer, and the headers that earned it: a challenge is met once, without credentials, at a known realm."""
    url = f"{base}/v2/{wanted.path}/manifests/{wanted.digest or wanted.tag or 'latest'}"
    answer = _exchange(session, method, url, headers)
    if answer.status == HTTPStatus.UNAUTHORIZED and "Authorization" not in headers:
        headers = {"Authorization": f"Bearer {_anonymous_token(session, wanted, answer)}"}
        answer = _exchange(session, method, url, headers)
    _check_status(wanted, answer)
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind not in MANIFEST_TYPES:
        raise RegistryRefused(
            str(wanted), f"the registry has it as {kind[:80] or 'an unnamed type'}, which nodes do not pull"
        )
    return answer, headers


def _exchange(session: requests.Session, method: str, url: str, headers: Mapping[str, str]) -> Answer:
    sent = {"Accept": ", ".join(MANIFEST_TYPES), **headers}
    return connections.exchange(session, method, url, headers=sent, max_bytes=MAX_MANIFEST_BYTES)


def _check_status(wanted: Wanted, answer: Answer) -> None:
    status = answer.status
    if status == HTTPStatus.OK:
        return
    if status == HTTPStatus.NOT_FOUND:
        raise ImageNotFound(str(wanted))
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise RegistryRefused(str(wanted), f"the registry does not show it to us (HTTP {status})")
    if 300 <= status < 400:
        raise RegistryRefused(
            str(wanted), f"the registry sends us elsewhere (HTTP {status}), and no redirect is followed"
        )
    if status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or status >= 500:
        raise RegistryUnavailable(wanted.host, f"it answered HTTP {status}")
    raise RegistryRefused(str(wanted), f"the registry answered HTTP {status}")


def _anonymous_token(session: requests.Session, wanted: Wanted, refused: Answer) -> str:
    challenge = challenges.parse(refused.headers.get("WWW-Authenticate", ""))
    if challenge is None or not challenges.is_known(challenge.realm, host=wanted.host):
        raise RegistryRefused(str(wanted), "the registry asks for a login at a place that is not known to belong to it")
    parameters = {"service": challenge.service, "scope": f"repository:{wanted.path}:pull"}
    answer = connections.exchange(
        session, "GET", challenge.realm, headers={}, params=parameters, max_bytes=MAX_TOKEN_BYTES
    )
    _check_status(wanted, answer)
    return _token_in(wanted, answer.body)


def _token_in(wanted: Wanted, body: bytes) -> str:
    try:
        answer = json.loads(body)
        token = answer.get("token") or answer.get("access_token")
    except (ValueError, AttributeError) as fault:
        raise RegistryUnavailable(wanted.host, "its token service answered no JSON object") from fault
    if not (isinstance(token, str) and re.fullmatch(r"[\x21-\x7e]+", token)):
        raise RegistryUnavailable(wanted.host, "its token service answered without a token")
    return token

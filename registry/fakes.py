"""A resolver over images in memory, with a registry's own rules and faults that can be ordered. For tests of others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from . import namespaces
from .errors import ImageNotFound, RegistryError, RegistryRefused, RegistryUnavailable
from .ports import Wanted


class FakeResolver:
    """Knows what was pushed to it. Like the real one it keeps to its hosts, and a tag moves while a digest does not."""

    def __init__(self, *hosts: str):
        self._hosts = frozenset(hosts)
        self._tags: dict[tuple[str, str, str], str] = {}
        self._digests: set[tuple[str, str, str]] = set()
        self._unavailable: set[str] = set()
        self.asked: list[Wanted] = []

    def push(self, host: str, path: str, tag: str, manifest: bytes) -> str:
        """Store a manifest under a tag; answers its digest, that of its bytes."""
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        self._tags[host, path, tag] = digest
        self._digests.add((host, path, digest))
        return digest

    def forget(self, host: str, path: str, digest: str) -> None:
        """The image is gone, its tags with it."""
        self._digests.discard((host, path, digest))
        self._tags = {
            key: value for key, value in self._tags.items() if (key[0], key[1], value) != (host, path, digest)
        }

    def go_away(self, host: str) -> None:
        self._unavailable.add(host)

    def come_back(self, host: str) -> None:
        self._unavailable.discard(host)

    def resolve(self, host: str, path: str, tag: str | None, digest: str | None) -> str:
        wanted = Wanted(host, path, tag, digest)
        self.asked.append(wanted)
        if host not in self._hosts:
            raise RegistryRefused(str(wanted), f"{host} is not among the registries allowed here")
        if not namespaces.is_repository(path):
            raise RegistryRefused(str(wanted), "it is not an image reference with a sha256 digest or a tag")
        if host in self._unavailable:
            raise RegistryUnavailable(host, "the connection failed (ConnectionError)")
        found = digest if (host, path, digest) in self._digests else None
        if digest is None:
            found = self._tags.get((host, path, tag or "latest"))
        if found is None:
            raise ImageNotFound(str(wanted))
        return found

    def resolve_many(self, wanted: Iterable[Wanted]) -> Mapping[Wanted, str | RegistryError]:
        return {each: self._settled(each) for each in dict.fromkeys(wanted)}

    def _settled(self, wanted: Wanted) -> str | RegistryError:
        try:
            return self.resolve(wanted.host, wanted.path, wanted.tag, wanted.digest)
        except RegistryError as fault:
            return fault

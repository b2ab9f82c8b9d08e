"""What a registry backend and a tag resolver are to the rest of the control plane. Pure: values and protocols only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from .errors import RegistryError


class Secret:
    """A text that no repr, format or log line shows; `reveal()` is the one way to it."""

    __slots__ = ("_text",)

    def __init__(self, text: str):
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret(redacted)"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("A Secret is not pickled: it would lie in a broker or a cache.")


@dataclass(frozen=True, slots=True)
class Login:
    """What `docker login` takes. `expires_at` is when the registry stops to accept it, whatever was asked for."""

    username: str
    password: Secret
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class PushCredentials:
    """The answer to an agent. `registry` is HOST[:PORT]; images go to `{registry}/{namespace}/...`."""

    registry: str
    username: str
    password: Secret
    namespace: str
    expires_at: datetime
    path_scoped: bool
    instructions: str
    jti: str


@dataclass(frozen=True, slots=True)
class PullCredentials:
    """What a node logs in with. `host` is HOST[:PORT]; it pulls the repositories that it was minted for, no others."""

    host: str
    username: str
    password: Secret
    expires_at: datetime
    jti: str


class RegistryBackend(Protocol):
    """One registry that the control plane can mint credentials for.

    `host` is HOST[:PORT] as it stands in image names. `path_scoped` says whether a push credential itself ends at the
    namespace; where it is False, the boundary is the check of the manifest alone, and agents and operators are told so.
    A mint is one exchange of at most 30 s, raises RegistryError, and keeps no copy of the secret. `jti` names the
    credential in the audit; a backend that can carry it into the credential does.
    """

    @property
    def slug(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def path_scoped(self) -> bool: ...

    def repository_prefix(self, namespace: str) -> str:
        """Where a project's repositories lie, without host or slash at the end (an account may come before it)."""

    def mint_push(self, *, jti: str, namespace: str, ttl_seconds: int) -> Login:
        """Push and pull inside `repository_prefix(namespace)`; the real end is in the answer, not in what was asked."""

    def mint_pull(self, *, jti: str, repositories: Collection[str], ttl_seconds: int) -> Login:
        """Pull of exactly these repositories, or of as little as the backend can limit a credential to."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image whose digest is wanted: a tag, or a digest to confirm. `host` is HOST[:PORT], `path` has no host."""

    host: str
    path: str
    tag: str | None
    digest: str | None

    def __str__(self) -> str:
        return f"{self.host}/{self.path}" + (f"@{self.digest}" if self.digest else f":{self.tag or 'latest'}")


class TagResolver(Protocol):
    """Which digest an image name stands for, now."""

    def resolve(self, host: str, path: str, tag: str | None, digest: str | None) -> str:
        """`sha256:HEX` of the manifest or index. A given digest is confirmed and wins over the tag; no tag is `latest`.

        Raises ImageNotFound, RegistryUnavailable (retryable) or RegistryRefused.
        """

    def resolve_many(self, wanted: Iterable[Wanted]) -> Mapping[Wanted, str | RegistryError]:
        """Each image's digest, or the error that `resolve` would raise: all the faults at once, in bounded time."""

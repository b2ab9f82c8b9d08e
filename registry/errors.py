"""What the registry room refuses, by whose fault, with the cure. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class RegistryError(Exception):
    """Base of this room's errors. `code` is public and stable; `retryable` says whether time alone may help.

    `what` says what happened to which thing, `cure` what to do about it; `str()` is both. Neither holds a secret.
    """

    code: ClassVar[str]
    retryable: ClassVar[bool] = False
    cure: ClassVar[str]

    @property
    def what(self) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return f"{self.what} {self.cure}"


class InvalidNamespace(RegistryError):
    code = "registry.namespace_invalid"
    cure = "Use lower-case letters, digits and single separators (. _ -), 128 characters at most."

    def __init__(self, text: str):
        self.text = text

    @property
    def what(self) -> str:
        return f"{self.text[:80]!r} is no repository prefix of a registry."


class InvalidRepository(RegistryError):
    code = "registry.repository_invalid"
    cure = "Name it as it stands in an image, without host, tag or digest."

    def __init__(self, text: str):
        self.text = text

    @property
    def what(self) -> str:
        return f"{self.text[:80]!r} is no repository of a registry."


class QuotaExceeded(RegistryError):
    """`retry_after_seconds` is the whole number of seconds until the window has room again, at least 1."""

    code = "quota.exceeded"
    retryable = True
    cure = "Use the credentials you have until they expire, or ask again after Retry-After."

    def __init__(self, *, limit: int, window_seconds: int, retry_after_seconds: int):
        self.limit, self.window_seconds, self.retry_after_seconds = limit, window_seconds, retry_after_seconds

    @property
    def what(self) -> str:
        return (
            f"This project has asked for {self.limit} registry credentials within {self.window_seconds} s,"
            " failures included;"
            f" the next one is possible in {self.retry_after_seconds} s."
        )


class MintFailed(RegistryError):
    code = "registry.mint_failed"
    retryable = True
    cure = "Try again later; if it goes on, an operator finds the cause in the control plane's log."

    def __init__(self, backend: str):
        self.backend = backend

    @property
    def what(self) -> str:
        return f"The {self.backend} registry made no credential; the attempt counts towards the quota."


class KeyUnusable(RegistryError):
    """The token service's key or certificate cannot be used: an operator's fault, never a caller's."""

    code = "registry.key_unusable"
    cure = (
        "Run `manage.py registry_setup`,"
        " or name others by SAM_REGISTRY_TOKEN_KEY_FILE and SAM_REGISTRY_TOKEN_CERT_FILE."
    )

    def __init__(self, path: Path, why: str):
        self.path, self.why = path, why

    @property
    def what(self) -> str:
        return f"{self.path} is no usable registry token key or certificate: {self.why}."


class UnknownCredential(RegistryError):
    code = "registry.credential_unknown"
    cure = "The jti of each credential is in the registry's audit."

    def __init__(self, jti: str):
        self.jti = jti

    @property
    def what(self) -> str:
        return f"No credential with jti {self.jti[:64]!r} was ever minted."


class ImageNotFound(RegistryError):
    code = "image.not_found"
    cure = "Push it first, or correct the name, tag or digest."

    def __init__(self, image: str):
        self.image = image

    @property
    def what(self) -> str:
        return f"The registry has no image {self.image}."


class RegistryUnavailable(RegistryError):
    code = "registry.unavailable"
    retryable = True
    cure = "Try again later; what runs is not touched by this."

    def __init__(self, host: str, why: str):
        self.host, self.why = host, why

    @property
    def what(self) -> str:
        return f"Registry {self.host} cannot be asked now: {self.why}."


class RegistryRefused(RegistryError):
    code = "registry.refused"
    cure = "Name an image that this registry gives to everybody, or push it to the project's own namespace."

    def __init__(self, image: str, why: str):
        self.image, self.why = image, why

    @property
    def what(self) -> str:
        return f"{self.image} was not resolved: {self.why}."

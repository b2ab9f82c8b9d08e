"""What can go wrong at a provider, by what the caller should do about it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

_SECRETS = (
    re.compile(r"(?i)(bearer\s+)[^\s\"',;]+"),
    re.compile(r"(?i)((?:x-auth-token|token|secret_key|root_password|password)[\"']?\s*[:=]\s*[\"']?)[^\s\"',;&}]+"),
)
_MESSAGE_MAX_LENGTH = 500


def redacted(message: str, secrets: tuple[str, ...] = ()) -> str:
    """The message in one line of at most 500 characters, without the known credentials and what looks like one."""
    for secret in secrets:
        if secret:
            message = message.replace(secret, "[redacted]")
    for pattern in _SECRETS:
        message = pattern.sub(r"\1[redacted]", message)
    return " ".join(message.split())[:_MESSAGE_MAX_LENGTH]


class Retry(StrEnum):
    """Whether, and how, the same call may be made again."""

    NO = "no"
    LATER = "later"
    """Not soon: the cloud has nothing to give. Minutes, with backoff."""
    YES = "yes"
    """Soon, with backoff."""
    RECONCILE = "reconcile"
    """It may have been done. Look for the key after the settle window, and only then call again."""
    PAUSE = "pause"
    """Not before an operator has mended the account: stop calling with it."""


class ProviderError(Exception):
    """Base of all that a provider refuses or fails. `code` is public and stable, `provider_code` the provider's own.

    `message` is the provider's own words, redacted; `str()` adds what to do next.
    """

    code: ClassVar[str]
    retry: ClassVar[Retry] = Retry.NO
    cure: ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        provider_code: str = "",
        correlation_id: str | None = None,
        resource_id: str | None = None,
    ) -> None:
        self.message = redacted(message)
        self.provider_code = provider_code
        self.correlation_id = correlation_id
        self.resource_id = resource_id
        super().__init__(self.message)

    @property
    def retryable(self) -> bool:
        """Whether time alone may help."""
        return self.retry in (Retry.YES, Retry.LATER, Retry.RECONCILE)

    def __str__(self) -> str:
        said = f" ({self.provider_code})" if self.provider_code else ""
        trace = f" Correlation: {self.correlation_id}." if self.correlation_id else ""
        return f"{self.message.rstrip('.')}{said}. {self.cure}{trace}"


class NotFound(ProviderError):
    code = "provider.not_found"
    cure = "It was deleted, or never existed under this account; look at the provider's console."


class NameTaken(ProviderError):
    """The name exists and is not ours: it is neither adopted nor deleted."""

    code = "provider.name_taken"
    cure = (
        "Somebody else's resource has this name in the same project: rename or remove it there, or use another project."
    )


class SpecMismatch(ProviderError):
    """Our resource exists and is not what is asked for."""

    code = "provider.spec_mismatch"
    cure = "Give the existing one back first, or ask for what it is."


class InvalidRequest(ProviderError):
    """`fields` maps the provider's (or our) names of arguments to what is wrong with them."""

    code = "provider.invalid_request"
    cure = "Correct the named settings; asking again unchanged cannot help."

    def __init__(self, message: str, *, fields: Mapping[str, str] | None = None, provider_code: str = "",
                 correlation_id: str | None = None) -> None:  # fmt: skip
        super().__init__(message, provider_code=provider_code, correlation_id=correlation_id)
        self.fields = {name: redacted(text) for name, text in (fields or {}).items()}


class PreconditionFailed(ProviderError):
    """The resource is in a state that forbids this. `in_use_by`: the server that has the volume, where that is why."""

    code = "provider.precondition"
    cure = (
        "Bring the resource into the state that the message asks for (detach it, lift its protection), then ask again."
    )

    def __init__(self, message: str, *, in_use_by: str | None = None, provider_code: str = "",
                 correlation_id: str | None = None) -> None:  # fmt: skip
        super().__init__(message, provider_code=provider_code, correlation_id=correlation_id)
        self.in_use_by = in_use_by


class QuotaExceeded(ProviderError):
    code = "provider.quota"
    cure = "Raise the account's limit in the provider's console or free something; then release again."


class LimitExceeded(ProviderError):
    """A fixed limit of one resource, such as volumes on one server."""

    code = "provider.limit"
    cure = "Detach a volume that is not needed there, or spread the volumes over more environments."


class CapacityUnavailable(ProviderError):
    """The provider has none left; location and size are never changed silently."""

    code = "provider.capacity"
    retry = Retry.LATER
    cure = "It is tried again by itself; another size or location has to be chosen by an operator."

    def __init__(self, message: str, *, location: str = "", size: str = "", provider_code: str = "",
                 correlation_id: str | None = None) -> None:  # fmt: skip
        super().__init__(message, provider_code=provider_code, correlation_id=correlation_id)
        self.location = location
        self.size = size


class Busy(ProviderError):
    code = "provider.busy"
    retry = Retry.YES
    cure = "Something else is being done to it; it is tried again by itself."


class RateLimited(ProviderError):
    """`retry_after_seconds` is what the provider said, or None where it said nothing."""

    code = "provider.rate_limited"
    retry = Retry.YES
    cure = "It is tried again by itself; several accounts share the load if this lasts."

    def __init__(self, message: str, *, retry_after_seconds: float | None = None, provider_code: str = "",
                 correlation_id: str | None = None) -> None:  # fmt: skip
        super().__init__(message, provider_code=provider_code, correlation_id=correlation_id)
        self.retry_after_seconds = retry_after_seconds


class AuthFailed(ProviderError):
    code = "provider.auth"
    retry = Retry.PAUSE
    cure = "Give the account a valid credential with read and write rights, then run: manage.py provider_account check."


class Unavailable(ProviderError):
    """A read that failed, or a write that was refused before it was done: nothing changed."""

    code = "provider.unavailable"
    retry = Retry.YES
    cure = "It is tried again by itself; the provider's status page says more if this lasts."


class OutcomeUnknown(ProviderError):
    """A write whose answer is lost: it may or may not have been done."""

    code = "provider.outcome_unknown"
    retry = Retry.RECONCILE
    cure = "It is looked for by its key after the settle window, and only then asked for again."


class OperationFailed(ProviderError):
    """The provider took the order and failed at it. The resource exists still: see `resource_id`."""

    code = "provider.operation_failed"
    cure = "Delete what was made and ask anew; if it fails again, give the provider's support the correlation or id."


class UnknownAccount(ProviderError):
    code = "provider.unknown_account"
    cure = "See which there are with: manage.py provider_account list."


class AccountExists(ProviderError):
    code = "provider.account_exists"
    cure = "Choose another name; an account's credentials are not replaced in place."


class AccountPaused(ProviderError):
    """Calls with the account are stopped since its provider refused the credential."""

    code = "provider.paused"
    cure = "Mend the credential at the provider, then run: manage.py provider_account check."

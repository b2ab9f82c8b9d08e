"""The fence around hcloud: requests that end, no retries of its own, and our errors instead of its.

Facts on hcloud 2.27 (`hcloud/_client.py`, ClientBase.request): without `timeout` a request may hang for ever; after a
read timeout, and on the codes conflict, rate_limit_exceeded, bad_gateway and timeout, any request is sent again up to
five times, POST included, sleeping up to a minute in between. Codes: docs.hetzner.cloud/reference/cloud, "Error Codes";
those that are not in it are taken from hcloud-go `hcloud/error.go`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import requests
from hcloud import APIException, Client

from providers.errors import (
    AuthFailed,
    Busy,
    CapacityUnavailable,
    InvalidRequest,
    LimitExceeded,
    NameTaken,
    NotFound,
    OperationFailed,
    PreconditionFailed,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Unavailable,
)
from providers.transport import lost, never_sent

BY_CODE: Mapping[str, type[ProviderError]] = {
    "not_found": NotFound,
    "uniqueness_error": NameTaken,
    "invalid_input": InvalidRequest,
    "json_error": InvalidRequest,
    "unsupported_error": InvalidRequest,
    "method_not_allowed": InvalidRequest,
    "deprecated_api_endpoint": InvalidRequest,
    "protected": PreconditionFailed,
    "volume_already_attached": PreconditionFailed,
    "server_already_attached": PreconditionFailed,
    "server_not_stopped": PreconditionFailed,
    "resource_limit_exceeded": QuotaExceeded,
    "limit_exceeded_error": LimitExceeded,
    "resource_unavailable": CapacityUnavailable,
    "placement_error": CapacityUnavailable,
    "no_space_left_in_location": CapacityUnavailable,
    "locked": Busy,
    "resource_locked": Busy,
    "conflict": Busy,
    "rate_limit_exceeded": RateLimited,
    "unauthorized": AuthFailed,
    "forbidden": AuthFailed,
    "token_readonly": AuthFailed,
    "unavailable": Unavailable,
    "maintenance": Unavailable,
}
"""By code, never by status: 403, 409 and 423 each mean several things."""

_AMBIGUOUS = frozenset({"server_error", "service_error", "timeout", "bad_gateway"})
"""Said by a server that may have done the write before it failed."""


class Fence:
    """A client whose calls are bounded, and `translated()` to call it in."""

    def __init__(self, *, token: str, api_url: str, timeout_seconds: float, clock: Callable[[], float] = time.time):
        self.client = Client(
            token=token,
            api_endpoint=api_url,
            application_name="sam",
            timeout=(timeout_seconds / 3, timeout_seconds),
        )
        self._token = token
        self._clock = clock
        self._last: requests.Response | None = None
        base = self.client._client
        if not hasattr(base, "_retry_max_retries") or not hasattr(base, "_session"):
            raise RuntimeError("This hcloud cannot be kept from sending writes twice: read its ClientBase anew")
        base._retry_max_retries = 0
        base._session.hooks["response"].append(self._remember)

    def _remember(self, response: requests.Response, *args: object, **kwargs: object) -> None:
        self._last = response

    @contextlib.contextmanager
    def translated(self, *, write: bool, attaching: bool = False, location: str = "", size: str = "") -> Iterator[None]:
        """Run one SDK call; whatever it raises leaves as one of our errors."""
        self._last = None
        try:
            yield
        except APIException as error:
            raise self._from_api(error, write, attaching, location, size) from error
        except requests.RequestException as error:
            raise self._from_transport(error, write) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # The SDK met an answer that it cannot read.
            raise lost(f"The answer has another form than expected: {type(error).__name__}", write) from error

    def _from_api(self, error: APIException, write: bool, attaching: bool, location: str, size: str) -> ProviderError:
        message, code = self._redacted(error.message), str(error.code)
        trace = error.correlation_id
        if isinstance(error.code, int):
            return self._from_status(error.code, message, write)
        kind = BY_CODE.get(code)
        if attaching and code == "resource_limit_exceeded":
            kind = LimitExceeded
        if kind is None:
            return self._from_unknown_code(code, message, write, trace)
        if kind is CapacityUnavailable:
            return CapacityUnavailable(message, location=location, size=size, provider_code=code, correlation_id=trace)
        if kind is RateLimited:
            return RateLimited(
                message, retry_after_seconds=self._retry_after(), provider_code=code, correlation_id=trace
            )
        if kind is InvalidRequest:
            return InvalidRequest(message, fields=_fields(error.details), provider_code=code, correlation_id=trace)
        return kind(message, provider_code=code, correlation_id=trace)

    def _from_unknown_code(self, code: str, message: str, write: bool, trace: str | None) -> ProviderError:
        refused = self._last is not None and self._last.status_code < 500
        if refused and code not in _AMBIGUOUS:
            return InvalidRequest(message, provider_code=code, correlation_id=trace)
        return lost(message, write, code, trace)

    def _from_status(self, status: int, message: str, write: bool) -> ProviderError:
        """An answer without Hetzner's JSON: of a proxy on the way, or cut short."""
        message = f"HTTP {status} without a readable body: {message}"
        if status == 401:
            return AuthFailed(message, provider_code=str(status))
        if status == 429:
            return RateLimited(message, retry_after_seconds=self._retry_after(), provider_code=str(status))
        if 400 <= status < 500:
            return Unavailable(message, provider_code=str(status))
        return lost(message, write, str(status))

    def _from_transport(self, error: requests.RequestException, write: bool) -> ProviderError:
        message = f"No answer from {self.client._client._endpoint}: {type(error).__name__}"
        return lost(message, write and not never_sent(error))

    def _retry_after(self) -> float | None:
        """Seconds until `RateLimit-Reset` (Unix time), which the SDK does not show."""
        try:
            reset = float(self._last.headers["RateLimit-Reset"]) if self._last is not None else None
        except (KeyError, ValueError):
            return None
        return None if reset is None else max(0.0, reset - self._clock())

    def _redacted(self, message: str | None) -> str:
        return (message or "").replace(self._token, "[redacted]")


def failed_action(error: Mapping[str, Any] | None, what: str, resource_id: str) -> ProviderError:
    """The error of an action that ended badly. A busy server is told by words only: action_failed with "locked" in the
    message (terraform-provider-hcloud `internal/volume/resource.go`, issue 469)."""
    code = str((error or {}).get("code") or "")
    message = f"{what} failed: {(error or {}).get('message') or 'no reason given'}"
    if "locked" in message.lower():
        return Busy(message, provider_code=code, resource_id=resource_id)
    kind = BY_CODE.get(code, OperationFailed)
    if kind in (CapacityUnavailable, QuotaExceeded, LimitExceeded, Busy):
        return kind(message, provider_code=code)
    return OperationFailed(message, provider_code=code, resource_id=resource_id)


def _fields(details: Any) -> dict[str, str]:
    listed = details.get("fields") if isinstance(details, Mapping) else None
    if not isinstance(listed, list):
        return {}
    return {str(entry.get("name")): "; ".join(map(str, entry.get("messages") or [])) for entry in listed}

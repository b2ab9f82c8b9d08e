"""The fence around scaleway: requests that end, errors that can be read, nothing of a request in a log.

Facts on scaleway-core 2.12 (`scaleway_core/api.py`): `_request` has no timeout, no session and no retry, and logs
bodies (cloud-init among them) at DEBUG; `_throw_on_error` reads any error as JSON, so that an empty 429 or a proxy's
page is a JSONDecodeError, and a "Validation Error" without fields a KeyError. Both are replaced here. Error types:
scaleway-sdk-go `scw/errors.go`; older ones of the Instance API from terraform-provider-scaleway.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import requests
from scaleway.account.v3 import AccountV3ProjectAPI
from scaleway.block.v1 import BlockV1API
from scaleway.iam.v1alpha1 import IamV1Alpha1API
from scaleway.instance.v1.custom_api import InstanceUtilsV1API
from scaleway.marketplace.v2 import MarketplaceV2API
from scaleway_core.api import API
from scaleway_core.client import Client

from providers.errors import (
    AuthFailed,
    Busy,
    CapacityUnavailable,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Unavailable,
)
from providers.transport import lost, never_sent

BY_TYPE: Mapping[str, type[ProviderError]] = {
    "not_found": NotFound,
    "unknown_resource": NotFound,
    "resource_expired": NotFound,
    "invalid_arguments": InvalidRequest,
    "invalid_request_error": InvalidRequest,
    "precondition_failed": PreconditionFailed,
    "resource_still_in_use": PreconditionFailed,
    "quotas_exceeded": QuotaExceeded,
    "out_of_stock": CapacityUnavailable,
    "transient_state": Busy,
    "locked": Busy,
    "conflict": Busy,
    "too_many_requests": RateLimited,
    "denied_authentication": AuthFailed,
    "permissions_denied": AuthFailed,
}

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AuthFailed,
    403: AuthFailed,
    404: NotFound,
    409: Busy,
    410: NotFound,
    429: RateLimited,
}
"""For a JSON error whose type is not known."""


class Guard(API):
    """First in the order of resolution before an API of the SDK."""

    timeout_seconds: float = 15.0

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] = {},
        headers: Mapping[str, str] = {},
        body: Any = None,
    ) -> requests.Response:
        method = method.upper()
        sends_json = {"Content-Type": "application/json; charset=utf-8"} if method in ("POST", "PUT", "PATCH") else {}
        try:
            response = requests.request(
                method,
                f"{self.client.api_url}{path}",
                params=list(_flattened(params)),
                headers={
                    "accept": "application/json",
                    "user-agent": self.client.user_agent or "",
                    "x-auth-token": self.client.secret_key or "",
                    **sends_json,
                    **headers,
                },
                data=body if isinstance(body, bytes) else json.dumps(body or {}),
                timeout=(self.timeout_seconds / 3, self.timeout_seconds),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            message = f"No answer from {self.client.api_url}: {type(error).__name__}"
            raise lost(message, _is_write(method) and not never_sent(error)) from error
        return response

    def _throw_on_error(self, res: requests.Response) -> None:
        write = _is_write(res.request.method or "")
        body = _json(res)
        if res.status_code >= 400:
            raise self._error(res, body, write)
        if res.status_code == 204 or _is_plain_text(res):
            return
        if body is None:
            raise lost(f"HTTP {res.status_code} without a readable body", write, trace=_trace(res))
        total = res.headers.get("X-Total-Count")
        if total is not None and total.isdigit():
            # The SDK reads the total of Instance lists from here; it would be a text if left to it.
            res._content = json.dumps({**body, "total_count": int(total)}).encode()

    def _error(self, res: requests.Response, body: Mapping[str, Any] | None, write: bool) -> ProviderError:
        trace, status = _trace(res), str(res.status_code)
        if res.status_code == 429:
            return RateLimited(
                "Too many requests", retry_after_seconds=_retry_after(res), provider_code=status, correlation_id=trace
            )
        if res.status_code >= 500:
            return lost(f"HTTP {status}: {_message(body)}", write, status, trace)
        if body is None:
            return Unavailable(f"HTTP {status} without a readable body", provider_code=status, correlation_id=trace)
        return _refusal(res.status_code, body, trace, self.client.secret_key or "")


class Instance(Guard, InstanceUtilsV1API):
    """Instances (`instance/v1`)."""


class Block(Guard, BlockV1API):
    """Block Storage (`block/v1`)."""


class Marketplace(Guard, MarketplaceV2API):
    """Images (`marketplace/v2`)."""


class Iam(Guard, IamV1Alpha1API):
    """Quotas (`iam/v1alpha1`)."""


class Projects(Guard, AccountV3ProjectAPI):
    """Projects (`account/v3`): which organization ours is of."""


class Fence:
    """The APIs of one account, all guarded."""

    def __init__(
        self, *, access_key: str, secret_key: str, project_id: str, api_url: str, timeout_seconds: float
    ) -> None:
        client = Client(
            access_key=access_key, secret_key=secret_key, default_project_id=project_id, api_url=api_url,
            user_agent="sam",
        )  # fmt: skip
        try:
            client.validate()
        except ValueError as error:
            # The SDK's message repeats the value; ours does not.
            raise InvalidRequest(
                "The account's credentials have not the form of a key pair and a project's id",
                fields={"access_key": "SCW and 17 characters", "secret_key": "a UUID", "project_id": "a UUID"},
            ) from error.__cause__
        self.instances, self.blocks = Instance(client), Block(client)
        self.images, self.iam, self.projects = Marketplace(client), Iam(client), Projects(client)
        for api in (self.instances, self.blocks, self.images, self.iam, self.projects):
            api.timeout_seconds = timeout_seconds


@contextlib.contextmanager
def readable(*, write: bool) -> Iterator[None]:
    """Run SDK calls; an answer that the SDK or we cannot read is a lost one."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise lost(f"The answer has another form than expected: {type(error).__name__}", write) from error


def _refusal(status: int, body: Mapping[str, Any], trace: str | None, secret: str) -> ProviderError:
    code = str(body.get("type") or status)
    message = _message(body).replace(secret, "[redacted]")
    kind = BY_TYPE.get(code) or _BY_STATUS.get(status, InvalidRequest)
    if kind is InvalidRequest:
        kind = _by_words(message)
    if kind is InvalidRequest:
        return InvalidRequest(message, fields=_fields(body), provider_code=code, correlation_id=trace)
    return kind(message, provider_code=code, correlation_id=trace)


def _by_words(message: str) -> type[ProviderError]:
    """What invalid_request_error of the older Instance API means: quota or state, said in words only."""
    words = message.lower()
    if "quota" in words:
        return QuotaExceeded
    if "should be running" in words or "should be stopped" in words or "is not in a valid state" in words:
        return PreconditionFailed
    return InvalidRequest


def _message(body: Mapping[str, Any] | None) -> str:
    if not body:
        return "no message"
    help_message = body.get("help_message")
    said = str(body.get("message") or body.get("type") or "no message")
    return f"{said}: {help_message}" if help_message else said


def _fields(body: Mapping[str, Any]) -> dict[str, str]:
    """`details[]` of invalid_arguments; `fields` of the older Validation Error."""
    details, fields = body.get("details"), body.get("fields")
    if isinstance(details, list):
        return {str(d.get("argument_name")): str(d.get("help_message") or d.get("reason")) for d in details}
    if isinstance(fields, Mapping):
        return {str(name): str(text) for name, text in fields.items()}
    return {}


def _json(res: requests.Response) -> dict[str, Any] | None:
    try:
        value = res.json()
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _retry_after(res: requests.Response) -> float | None:
    """Recorded 429s have no such header; should one come, it is honoured."""
    text = res.headers.get("Retry-After", "")
    return float(text) if text.isdigit() else None


def _trace(res: requests.Response) -> str | None:
    return res.headers.get("X-Request-Id")


def _is_plain_text(res: requests.Response) -> bool:
    return res.headers.get("Content-Type", "").startswith("text/plain")


def _is_write(method: str) -> bool:
    return method.upper() not in ("GET", "HEAD")


def _flattened(params: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in params.items():
        if value is None:
            continue
        for one in value if isinstance(value, list) else [value]:
            yield name, str(one).lower() if isinstance(one, bool) else one

"""An account's options: KEY=VALUE texts in, typed values out, all faults at once. Pure."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from providers.errors import InvalidRequest

REQUEST_TIMEOUT_SECONDS = 15.0
BOOT_DEADLINE_SECONDS = 900.0
_COMMON = ("api_url", "poll_seconds", "image", "request_timeout_seconds", "control_url", "boot_deadline_seconds")


@dataclass(frozen=True, slots=True)
class Options:
    """What every provider's account has."""

    api_url: str
    """Another endpoint of the same protocol; plain HTTP on loopback only."""
    poll_seconds: float
    image: str
    request_timeout_seconds: float
    """Without an answer for this long, a request is given up. Connecting has a third of it."""
    control_url: str
    """Where nodes of this account reach the control plane; empty: where everybody does."""
    boot_deadline_seconds: float


def read(
    given: Mapping[str, Any], *, api_url: str, image: str, poll_seconds: float, more: Collection[str] = ()
) -> Options:
    """The options, with a provider's own defaults. `more` names those that only this provider knows.

    Raises InvalidRequest with every fault.
    """
    faults = {name: "unknown option" for name in given if name not in _COMMON and name not in more}
    options = Options(
        api_url=_url(given, "api_url", api_url, faults).rstrip("/"),
        poll_seconds=_seconds(given, "poll_seconds", poll_seconds, faults),
        image=str(given.get("image") or image),
        request_timeout_seconds=_seconds(given, "request_timeout_seconds", REQUEST_TIMEOUT_SECONDS, faults),
        control_url=_url(given, "control_url", "", faults).rstrip("/"),
        boot_deadline_seconds=_seconds(given, "boot_deadline_seconds", BOOT_DEADLINE_SECONDS, faults),
    )
    if faults:
        listed = "; ".join(f"{name}: {fault}" for name, fault in sorted(faults.items()))
        raise InvalidRequest(f"The account's options are wrong: {listed}", fields=faults)
    return options


def required(credentials: Mapping[str, str], *names: str) -> tuple[str, ...]:
    """The credentials of these names. Raises InvalidRequest that lists missing and unknown ones, never a value."""
    faults = {name: "missing" for name in names if not credentials.get(name)}
    faults |= {name: "unknown" for name in credentials if name not in names}
    if faults:
        listed = "; ".join(f"{name}: {fault}" for name, fault in sorted(faults.items()))
        raise InvalidRequest(f"The account's credentials are wrong: {listed}", fields=faults)
    return tuple(credentials[name] for name in names)


def is_loopback(url: str) -> bool:
    """Whether the URL's host is this machine, as far as its name tells."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _seconds(given: Mapping[str, Any], name: str, default: float, faults: dict[str, str]) -> float:
    try:
        value = float(given.get(name, default))
    except (TypeError, ValueError):
        value = math.nan
    if not 0 < value < math.inf:
        faults[name] = "must be a number of seconds above 0"
        return default
    return value


def _url(given: Mapping[str, Any], name: str, default: str, faults: dict[str, str]) -> str:
    value = str(given.get(name) or default)
    if value == default:
        return value
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        faults[name] = "must be an http or https URL without credentials in it"
    elif parts.scheme == "http" and not is_loopback(value):
        faults[name] = "must be https; plain http is for loopback addresses"
    return value

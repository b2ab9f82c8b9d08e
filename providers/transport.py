"""What a failed exchange means, whichever SDK made it. Pure but for the names of requests' exceptions."""

from __future__ import annotations

import requests
from urllib3.exceptions import NewConnectionError

from providers.errors import OutcomeUnknown, ProviderError, Unavailable


def never_sent(error: requests.RequestException) -> bool:
    """Whether no connection came about, so that nothing can have been done."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(reason, NewConnectionError)


def lost(message: str, write: bool, code: str = "", trace: str | None = None) -> ProviderError:
    """No usable answer: for a read nothing happened, of a write nobody knows."""
    kind = OutcomeUnknown if write else Unavailable
    return kind(message, provider_code=code, correlation_id=trace)

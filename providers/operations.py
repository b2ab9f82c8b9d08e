"""Tokens of operations: small JSON that says what is awaited; the caller stores it over any restart. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from providers.ports import Operation

TOKEN_MAX_BYTES = 1024
_SLOWER = 1.25
_SLOWEST = 5


def operation(state: dict[str, Any], *, poll_seconds: float, now: float) -> Operation:
    """An operation with that state. `what` names it for people; past `deadline` (Unix time) it is overdue.

    Each time it is made anew from its own state it is to be polled a little later, up to five times `poll_seconds`:
    clouds limit requests per hour.
    """
    polls = state.get("polls", -1) + 1
    state = {**state, "polls": polls}
    token = json.dumps(state, separators=(",", ":"), sort_keys=True)
    if len(token.encode()) > TOKEN_MAX_BYTES:
        raise ValueError(f"an operation's token has {len(token.encode())} bytes, at most {TOKEN_MAX_BYTES} are stored")
    deadline = state.get("deadline")
    overdue = ""
    if deadline is not None and now > deadline:
        since = datetime.fromtimestamp(deadline, UTC).isoformat(timespec="seconds")
        overdue = f"{state.get('what', 'the operation')} should have ended by {since}"
        if state.get("last"):
            overdue += f"; the provider says: {state['last']}"
    return Operation(token, poll_seconds * min(_SLOWER ** min(polls, 50), _SLOWEST), overdue)


def state_of(op: Operation) -> dict[str, Any]:
    """The state that `operation` was given. Raises ValueError for a token that is none."""
    state = json.loads(op.token)
    if not isinstance(state, dict):
        raise ValueError("an operation's token is a JSON object")
    return state

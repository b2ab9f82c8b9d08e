"""The same write sent twice is done once: Idempotency-Key, kept per token for 24 hours.

Only answers of calls that stored something are kept; a refusal leaves no trace, so that the corrected state of the
world can answer differently. A key is claimed by inserting its row, which the unique constraint lets one caller do.

A claim is a lease: a server that died in the middle blocks its key for LEASE_SECONDS and no longer. Whoever takes the
claim over first looks for what the dead call stored (each stored row carries the id of its claim), and only then calls
again.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from ...errors import DeploymentError
from ...models import IdempotentCall

KEPT = timedelta(hours=24)
# Longer than any write takes: images are resolved in bounded time, and a statement ends after 60 s.
LEASE_SECONDS = 180
_KEY = re.compile(r"[!-~]{1,255}", re.ASCII)

View = TypeVar("View")
Write = Callable[..., Response]


class KeyInvalid(DeploymentError):
    code, status = "idempotency.key_invalid", 400

    def __str__(self) -> str:
        return "Idempotency-Key takes 1 to 255 visible ASCII characters without spaces. A random UUID is a good one."


class KeyMismatch(DeploymentError):
    code, status = "idempotency.mismatch", 422

    def __str__(self) -> str:
        return (
            "This Idempotency-Key was used for another call or another body within 24 hours. Use a "
            "new key for a new call."
        )


class KeyInFlight(DeploymentError):
    code, status, retryable, retry_after_seconds = "idempotency.in_flight", 409, True, 1

    def __str__(self) -> str:
        return (
            "The first call with this Idempotency-Key is still at work. Send the same again in a second for its answer."
        )


class Stored(Response):
    """The answer of a call that stored something: one that is kept for its key."""


def idempotent(recover: Callable[[Any, int], Any | None] | None = None) -> Callable[[Write], Write]:
    """Decorates a write of an AgentView. `recover(view, claim_id)` answers the body of what a dead call stored, or
    None."""

    def decorate(write: Write) -> Write:
        @functools.wraps(write)
        def once(view: Any, request: Request, **names: Any) -> Response:
            key = request.headers.get("Idempotency-Key")
            if key is None:
                return write(view, request, **names)
            if not _KEY.fullmatch(key):
                raise KeyInvalid
            claim, answered = _claim(view.principal.token_id, key, _digest(request))
            if answered is not None:
                return answered
            view.claim_id = claim.pk
            return _carry_out(claim, lambda: _recovered(view, claim, recover) or write(view, request, **names))

        return once

    return decorate


def _carry_out(claim: IdempotentCall, call: Callable[[], Response]) -> Response:
    """Call, and keep the answer or let the key go. The conditions see to it that a claim taken over is left alone."""
    mine = IdempotentCall.objects.filter(pk=claim.pk, created_at=claim.created_at, status__isnull=True)
    try:
        response = call()
    except BaseException:
        mine.delete()
        raise
    if isinstance(response, Stored):
        mine.update(status=response.status_code, body=json.loads(JSONRenderer().render(response.data)))
    else:
        mine.delete()
    return response


def _recovered(view: Any, claim: IdempotentCall, recover: Callable[[Any, int], Any | None] | None) -> Response | None:
    if recover is None or not getattr(claim, "is_taken_over", False):
        return None
    body = recover(view, claim.pk)
    return None if body is None else Stored(body, status=201)


def _digest(request: Request) -> str:
    """Of what the call is: method, path, query and body; the path names the environment."""
    sent = request._request
    parts = (sent.method or "", sent.get_full_path(), hashlib.sha256(sent.body).hexdigest())
    return "sha256:" + hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _claim(token_id: str, key: str, digest: str) -> tuple[IdempotentCall, Response | None]:
    """The claim to call under, or the answer that the first call gave. Raises KeyMismatch and KeyInFlight."""
    now = timezone.now()
    IdempotentCall.objects.filter(token_id=token_id, key=key, created_at__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotentCall.objects.create(token_id=token_id, key=key, request_digest=digest), None
    except IntegrityError:
        claim = IdempotentCall.objects.filter(token_id=token_id, key=key).first()
    if claim is None:
        # Refused and let go between our insert and our look: as good as still at work, the next try finds the key free.
        raise KeyInFlight
    if claim.request_digest != digest:
        raise KeyMismatch
    if claim.status is not None:
        return claim, Response(claim.body, status=claim.status, headers={"Idempotency-Replayed": "true"})
    return _taken_over(claim), None


def _taken_over(claim: IdempotentCall) -> IdempotentCall:
    """The claim of a caller that must be dead by now. Raises KeyInFlight while it may be alive, or if another was
    faster."""
    now = timezone.now()
    if claim.created_at > now - timedelta(seconds=LEASE_SECONDS):
        raise KeyInFlight
    if not IdempotentCall.objects.filter(pk=claim.pk, created_at=claim.created_at, status__isnull=True).update(
        created_at=now
    ):
        raise KeyInFlight
    claim.created_at = now
    claim.is_taken_over = True  # type: ignore[attr-defined]
    return claim

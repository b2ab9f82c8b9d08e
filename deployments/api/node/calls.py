"""What every call of a node has in common: a bounded body, a proven sender, and one shape for what is refused."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from nodeagent.wire.decode import decode
from nodeagent.wire.errors import RequestError, WireError

from ...errors import DeploymentError
from ...models import Node
from ...services import nodes
from .. import errors

MAX_BODY_BYTES = 1024 * 1024
# Of what the wire refuses: not JSON at all, too large, from nobody that we know. The rest is well-formed and wrong.
_STATUS: Mapping[str, int] = {
    "wire.size": 413,
    "envelope.size": 413,
    "wire.encoding": 400,
    "wire.syntax": 400,
    "wire.duplicate": 400,
    "request.headers": 401,
    "request.signature": 401,
    "request.time": 401,
}

Message = TypeVar("Message")
Signed = Callable[..., HttpResponse]


class MethodNotAllowed(DeploymentError):
    """Another method than the one that the path takes."""

    code, status = "request.method", 405

    def __init__(self, allowed: str):
        self.headers = {"Allow": allowed}

    def __str__(self) -> str:
        return f"This path takes {self.headers['Allow']} only."


def refused(fault: Exception) -> HttpResponse:
    """problem+json for whatever a call ended with."""
    if isinstance(fault, WireError):
        return errors.answer(_of_wire(fault))
    return errors.answer(errors.refusal_of(fault))


def _of_wire(fault: WireError) -> errors.Refusal:
    """The wire's errors hold no part of what was refused, so that they can be told as they are."""
    status = _STATUS.get(fault.code, 422)
    return errors.Refusal(status, fault.code, f"{fault}.", retryable=isinstance(fault, RequestError) and status == 401)


def answered(method: str) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponseBase]]:
    """A view of this one method whose every exception becomes problem+json."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponseBase]:
        @functools.wraps(view)
        def answer(request: HttpRequest, **names: Any) -> HttpResponse:
            try:
                require(request, method)
                return view(request, **names)
            except Exception as fault:  # noqa: BLE001 - the edge: each error is mapped once, here
                return refused(fault)

        return answer

    return decorate


def signed(
    method: str, *, max_bytes: int = MAX_BODY_BYTES
) -> Callable[[Callable[..., HttpResponse]], Callable[..., HttpResponseBase]]:
    """A view that gets the node which signed the request, and the body that it signed."""

    def decorate(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponseBase]:
        @answered(method)
        @functools.wraps(view)
        def answer(request: HttpRequest, **names: Any) -> HttpResponse:
            node, body = proven(request, max_bytes=max_bytes)
            return view(node, body, **names)

        return answer

    return decorate


def require(request: HttpRequest, method: str) -> None:
    """Raises MethodNotAllowed."""
    if request.method != method:
        raise MethodNotAllowed(method)


def proven(request: HttpRequest, *, max_bytes: int = MAX_BODY_BYTES) -> tuple[Node, bytes]:
    """Who signed the request, and the signed body. Raises what `nodes.authenticate` raises, WireError `wire.size`."""
    body = body_of(request, max_bytes)
    node = nodes.authenticate(
        method=request.method or "",
        path_with_query=target(request),
        headers=dict(request.headers.items()),
        body=body,
    )
    return node, body


def body_of(request: HttpRequest, max_bytes: int) -> bytes:
    """The whole body. Raises WireError `wire.size`; a length that is not said in advance is bounded all the same."""
    body = request.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise WireError("wire.size", f"The body is larger than {max_bytes} bytes")
    return body


def target(request: HttpRequest) -> str:
    """Path and query as they were sent: what the signature covers."""
    scope: Mapping[str, Any] = getattr(request, "scope", {})
    raw = scope.get("raw_path")
    path = raw.decode("latin-1") if raw else quote(request.path, safe="/:@!$&'()*+,;=~-._")
    query = request.META.get("QUERY_STRING", "")
    return f"{path}?{query}" if query else path


def decoded(cls: type[Message], body: bytes, *, max_bytes: int = MAX_BODY_BYTES) -> Message:
    """The message in the body. Raises WireError."""
    return decode(cls, body, max_bytes=max_bytes)


def json_answer(content: bytes) -> HttpResponse:
    """An answer that nobody on the way keeps."""
    response = HttpResponse(content, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response

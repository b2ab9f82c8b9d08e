"""Small keys of a service: image, user, paths, signals, network mode."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from deployments.domain import images
from deployments.domain.compose import nodes
from deployments.domain.compose.findings import Fix, echo, remove, replace
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading, Rule, matching, refusal, text

_VARIABLE_WITH_DEFAULT = re.compile(r"\$\{[A-Za-z_][A-Za-z0-9_]*:?-([^${}]*)\}", re.ASCII)
_SIGNALS: Final = (
    "ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP"
    "|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTMIN(?:\\+(?:[1-9]|1[0-5]))?|RTMAX"
)
_PRINCIPAL = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"

user = matching(
    rf"{_PRINCIPAL}(?::{_PRINCIPAL})?", "a user name or number, with `:group` if wanted", code="compose.user"
)
stop_signal = matching(
    rf"(?:SIG)?(?:{_SIGNALS})|[1-9]|[1-5][0-9]|6[0-4]", "a signal such as SIGTERM or SIGINT", code="compose.stop_signal"
)

_IMAGE_HINTS: Final = {
    "empty": "Write [HOST/]PATH[:TAG][@sha256:HEX].",
    "variable": "Write the tag out; what changes from release to release is a new release.",
    "scheme": "Write the reference without it.",
    "userinfo": "Write the reference alone; the node gets its own credentials.",
    "bare_digest": "Write the repository before it: HOST/PATH@sha256:HEX.",
    "digest": "Copy the digest that the registry shows.",
    "long": "Write [HOST/]PATH[:TAG][@sha256:HEX].",
    "grammar": "Write [HOST/]PATH[:TAG][@sha256:HEX], the path in lower case.",
}


def image(node: Node, reading: Reading) -> str | None:
    """An image reference, as written."""
    if nodes.kind_of(node) != "text":
        reading.mismatch(node, "an image")
        return None
    value: str = node.value
    if images.is_reference(value):
        return value
    try:
        images.parse_reference(value)
    except images.ImageReferenceError as error:
        reading.error(
            node, f"compose.image_{error.kind}", str(error), _IMAGE_HINTS[error.kind], _image_fix(node, value)
        )
        return None
    return value


def _image_fix(node: Node, value: str) -> Fix:
    """Without the scheme, or with the defaults that Compose would have put in place of the variables."""
    cured = _VARIABLE_WITH_DEFAULT.sub(lambda match: match.group(1), value)
    scheme, separator, rest = cured.partition("://")
    if separator and scheme in ("http", "https", "docker"):
        cured = rest
    if cured == value:
        return None
    try:
        images.parse_reference(cured)
    except images.ImageReferenceError:
        return None
    return (replace(node, cured),)


def working_dir(node: Node, reading: Reading) -> str | None:
    """An absolute path."""
    value = text(node, reading)
    if value is None or (value.startswith("/") and len(value) <= 4096):
        return value
    reading.error(
        node, "compose.working_dir", f"The path {echo(value)} is not absolute.", "Begin with a slash.",
        (replace(node, posixpath.normpath(f"/{value}")),) if value[:1].isalnum() and "$" not in node.value else None,
    )  # fmt: skip
    return None


def network_mode(node: Node, reading: Reading) -> None:
    """Refused; taking `none` out would open a network where the author wanted none."""
    fix: Fix = None if type(node) is nodes.Scalar and node.value == "none" else (remove(node),)
    reading.error(
        node,
        "compose.network_mode",
        "All services of an environment share one private network.",
        "Remove it; declare in `ports` what the world may reach."
        if fix
        else "A service without any network cannot be had; remove it if the private network is acceptable.",
        fix,
        at_key=True,
    )


def kept_refusal(code: str, says: str, hint: str) -> Rule:
    """A rule that refuses and offers no edit, because taking the key out would change what the author meant."""
    return refusal(code, says, hint, removable=False)

"""Image references by the grammar of github.com/distribution/reference, with Docker's defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

DEFAULT_HOST: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
MAX_NAME_LENGTH: Final = 255

# Written so that no text can be split in two ways: matching stays linear on hostile input.
_HOST_COMPONENT = r"[a-zA-Z0-9]+(?:-+[a-zA-Z0-9]+)*"
_HOST = rf"(?:{_HOST_COMPONENT}(?:\.{_HOST_COMPONENT})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"
_REFERENCE = re.compile(rf"((?:{_HOST}/)?{_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?", re.ASCII)
_PATH_ALONE = re.compile(_PATH, re.ASCII).fullmatch
_HOST_ALONE = re.compile(_HOST, re.ASCII).fullmatch
_HEX_NAME = re.compile(r"[a-f0-9]{64}", re.ASCII)
# References that are right at a glance: short, lower case, with a tag or without.
_COMMON = re.compile(rf"(?:[a-z0-9]+(?:[.-][a-z0-9]+)*(?::[0-9]+)?/)?{_PATH}(?::{_TAG})?", re.ASCII).fullmatch
_HEX_LENGTH: Final = 64
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}", re.ASCII)
_PINNED = re.compile(rf"{_HOST}/{_PATH}@sha256:[a-f0-9]{{64}}", re.ASCII)


class ImageReferenceError(ValueError):
    """A text that is no image reference; the message says what is wrong with it, `kind` names the fault."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A reference with Docker's defaults filled in: `nginx` is docker.io/library/nginx, tag latest."""

    host: str
    path: str
    tag: str | None
    digest: str | None

    @property
    def repository(self) -> str:
        """HOST/PATH."""
        return f"{self.host}/{self.path}"


def parse_reference(text: str) -> ImageReference:
    """Read `[HOST/]PATH[:TAG][@DIGEST]`. Raises ImageReferenceError; linear in the length of the text."""
    if len(text) > 1024:
        raise ImageReferenceError("long", "An image reference has at most 1,024 characters.")
    _refuse_what_looks_like_something_else(text)
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise ImageReferenceError("grammar", _why_not(text))
    name, tag, digest = match.groups()
    host, path = _split_host(name)
    if path is None or len(name) > MAX_NAME_LENGTH:
        raise ImageReferenceError("grammar", _why_not(text))
    if digest is not None and not _SHA256.fullmatch(digest):
        raise ImageReferenceError("digest", "Only sha256 digests of 64 lower-case hex digits are accepted.")
    if digest is None and tag is None:
        tag = DEFAULT_TAG
    return ImageReference(host, path, tag, digest)


def is_reference(text: str) -> bool:
    """True if `parse_reference` would read it; cheap for the common forms."""
    if _COMMON(text) and len(text) < _HEX_LENGTH and "_" not in text:
        return True
    try:
        parse_reference(text)
    except ImageReferenceError:
        return False
    return True


def is_pinned(text: str) -> bool:
    """True for HOST/PATH@sha256:HEX and nothing else."""
    return _PINNED.fullmatch(text) is not None and _has_host(text)


def pinned_text(reference: ImageReference, digest: str) -> str:
    """HOST/PATH@sha256:HEX. Raises ImageReferenceError if `digest` is no sha256 digest."""
    if not _SHA256.fullmatch(digest):
        raise ImageReferenceError("digest", "A digest reads sha256: and 64 lower-case hex digits.")
    return f"{reference.repository}@{digest}"


def _has_host(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())


def _split_host(name: str) -> tuple[str, str | None]:
    """Docker's rule: the first part is a host only if it has a dot, a colon or a capital, or is `localhost`."""
    if _has_host(name):
        host, _, path = name.partition("/")
        if not _HOST_ALONE(host):
            return host, None
        if host == "index.docker.io":
            host = DEFAULT_HOST
    else:
        host, path = DEFAULT_HOST, name
    if host == DEFAULT_HOST and "/" not in path:
        path = f"library/{path}"
    return host, path if _PATH_ALONE(path) else None


def _refuse_what_looks_like_something_else(text: str) -> None:
    if not text:
        raise ImageReferenceError("empty", "The image is empty.")
    if "$" in text:
        raise ImageReferenceError("variable", "An image cannot contain a variable: a release names one image for good.")
    if "://" in text:
        raise ImageReferenceError("scheme", "An image reference has no scheme.")
    if "@" in text.split("/", 1)[0] and "/" in text.partition("@")[2]:
        raise ImageReferenceError("userinfo", "An image reference carries no user or password.")
    if _HEX_NAME.fullmatch(text) or _SHA256.fullmatch(text):
        raise ImageReferenceError("bare_digest", "A digest alone names no image.")


def _why_not(text: str) -> str:
    name = text.partition("@")[0]
    if name != name.strip() or " " in name:
        return "An image reference contains no spaces."
    path = name.split("/", 1)[-1].partition(":")[0]
    if path != path.lower():
        return "The path of an image is written in lower case."
    return "This is no image reference: it reads [HOST/]PATH[:TAG][@sha256:HEX]."

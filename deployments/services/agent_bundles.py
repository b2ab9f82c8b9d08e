"""The agent as nodes download it: one archive of pure Python, named by its digest, equal bytes from equal sources.

It holds `nodeagent` and the pure-Python libraries that a distribution's Python lacks or has too old; python3-nacl and
python3-yaml, which have compiled parts, come from the distribution. What was given out once is kept, since a machine
that boots while the control plane is updated still asks for the digest that its user data names.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

from django.conf import settings

# What docker's library needs to speak over a unix socket, and what those need.
LIBRARIES = ("docker", "requests", "urllib3", "idna", "certifi", "charset-normalizer")
_SHIPPED = frozenset({".py", ".pem", ".typed"})
_LEGAL = ("LICENSE", "LICENCE", "NOTICE", "AUTHORS")


@dataclass(frozen=True, slots=True)
class Bundle:
    """`sha256` are the hex digits of the archive's digest."""

    sha256: str
    content: bytes


def current() -> Bundle:
    """The agent of this control plane's own version, kept under its digest."""
    bundle = _built()
    place = _place(bundle.sha256)
    if not place.exists():
        place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        beside = place.with_suffix(".new")
        beside.write_bytes(bundle.content)
        beside.replace(place)
    return bundle


def find(sha256: str) -> bytes | None:
    """The archive of that digest, if it is the current one or was ever given out. `sha256` are 64 hex digits."""
    if sha256 == _built().sha256:
        return _built().content
    place = _place(sha256)
    return place.read_bytes() if place.is_file() else None


def _place(sha256: str) -> Path:
    return Path(settings.STATE_DIR) / "agents" / f"{sha256}.tar.gz"


@cache
def _built() -> Bundle:
    content = gzip.compress(_tar(dict(_files())), 9, mtime=0)
    return Bundle(hashlib.sha256(content).hexdigest(), content)


def _files() -> Iterator[tuple[str, Path]]:
    """(path in the archive, file) of the agent and its libraries."""
    spec = importlib.util.find_spec("nodeagent")
    assert spec is not None and spec.origin is not None  # noqa: S101 - it is part of this checkout
    package = Path(spec.origin).parent
    for file in package.rglob("*.py"):
        yield f"nodeagent/{file.relative_to(package).as_posix()}", file
    for name in LIBRARIES:
        for listed in metadata.files(name) or ():
            # A compiled part has a Python twin beside it in each of these; scripts lie outside the tree ("..").
            wanted = listed.suffix in _SHIPPED or listed.name.startswith(_LEGAL)
            if wanted and ".." not in listed.parts:
                yield listed.as_posix(), Path(str(listed.locate()))


def _tar(files: Mapping[str, Path]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, file in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.mode, member.size = 0o644, file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(member, content)
    return raw.getvalue()

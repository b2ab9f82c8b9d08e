"""The sample app's image, made from one static program, and its push: no base image, and the same digest each time."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import ssl
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from scripts import binaries

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
APPLETS = ("sh", "httpd", "wget", "mkdir", "cat", "sleep", "echo", "id", "ls", "nc", "kill", "true", "false", "date")

# Writes the page at its start, so that one image serves every greeting; `exec` so that signals reach the server itself.
START = """\
#!/bin/sh
mkdir -p /tmp/www
cat >/tmp/www/index.html <<PAGE
<!doctype html>
<html lang="en"><title>SAM sample</title>
<h1>$GREETING</h1>
<p>version $VERSION</p>
</html>
PAGE
exec httpd -f -p 8080 -h /tmp/www
"""


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest's bytes and the blobs that it names."""

    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


@dataclass(frozen=True, slots=True)
class Files:
    """One layer, by path: files are (content, mode), links their target, directories their mode."""

    files: Mapping[str, tuple[bytes, int]] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, int] = field(default_factory=dict)


class PushError(RuntimeError):
    """The registry refused a push."""

    code = "sample.push"
    retryable = False

    def __init__(self, what: str, status: int, said: str):
        self.what, self.status, self.said = what, status, said

    def __str__(self) -> str:
        return f"The registry refused {self.what} with {self.status}: {self.said[:500]}"


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def programs() -> Files:
    """A layer with one static program under the names of several, and a directory that anybody may write."""
    busybox = Path(binaries.find("busybox")).read_bytes()
    links = {f"bin/{name}": "busybox" for name in APPLETS}
    return Files(files={"bin/busybox": (busybox, 0o755)}, links=links, directories={"tmp": 0o1777})


def sample() -> Image:
    """A web server that shows $GREETING and $VERSION on port 8080, as an unprivileged user."""
    start = Files(files={"bin/start": (START.encode(), 0o755)})
    return image([programs(), start], Entrypoint=["/bin/start"], User="65532:65532", ExposedPorts={"8080/tcp": {}})


def image(layers: Iterable[Files], **config: object) -> Image:
    """An OCI image of these layers. Equal input gives equal bytes: no times, no names of this machine."""
    tars = [_tar(layer) for layer in layers]
    packed = [gzip.compress(tar, 6, mtime=0) for tar in tars]
    rootfs = {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]}
    configuration = _json({"architecture": _architecture(), "os": "linux", "config": config, "rootfs": rootfs})
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, configuration),
            "layers": [_descriptor(LAYER, layer) for layer in packed],
        }
    )
    return Image(manifest, (configuration, *packed))


def _tar(layer: Files) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, mode in sorted(layer.directories.items()):
            archive.addfile(_member(name, tarfile.DIRTYPE, mode))
        for name, (content, mode) in sorted(layer.files.items()):
            member = _member(name, tarfile.REGTYPE, mode)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for name, target in sorted(layer.links.items()):
            link = _member(name, tarfile.SYMTYPE, 0o777)
            link.linkname = target
            archive.addfile(link)
    return raw.getvalue()


def _member(name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.mode = kind, mode
    return member


def _json(content: object) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}


def _architecture() -> str:
    import platform

    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


class Repository:
    """One repository of a registry on loopback, or of one that `authority` vouches for, with Docker's token dance
    (distribution/docs/spec/auth/token)."""

    def __init__(
        self, host: str, name: str, username: str = "", password: str = "", authority: ssl.SSLContext | None = None
    ):
        self._base, self._name = f"{'https' if authority else 'http'}://{host}", name
        self._trusted = {"127.0.0.1", "localhost", urllib.parse.urlsplit(self._base).hostname if authority else None}
        # What is on this machine never goes through a proxy, whatever the environment says.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=authority)
        )
        self._basic = base64.b64encode(f"{username}:{password}".encode()).decode()
        self._token = ""

    def push(self, image: Image, tag: str) -> str:
        """Blobs that are not there yet, then the manifest under this tag. Answers its digest. Raises PushError."""
        for blob in image.blobs:
            if not self._has(blob):
                self._upload(blob)
        answer = self._ask("PUT", f"manifests/{tag}", image.manifest, {"Content-Type": MANIFEST})
        if answer.headers["Docker-Content-Digest"] != image.digest:
            raise PushError(f"manifest {tag}", answer.status, "it stored other bytes")
        return image.digest

    def _has(self, blob: bytes) -> bool:
        try:
            self._ask("HEAD", f"blobs/{digest_of(blob)}")
        except PushError as refusal:
            if refusal.status == 404:
                return False
            raise
        return True

    def _upload(self, blob: bytes) -> None:
        location = self._ask("POST", "blobs/uploads/", b"").headers["Location"]
        target = urllib.parse.urljoin(self._base, location)
        target += ("&" if "?" in target else "?") + urllib.parse.urlencode({"digest": digest_of(blob)})
        self._ask("PUT", target, blob, {"Content-Type": "application/octet-stream"})

    def _ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> HTTPResponse:
        url = path if path.startswith("http") else f"{self._base}/v2/{self._name}/{path}"
        for attempt in (1, 2):
            bearer = {"Authorization": f"Bearer {self._token}"} if self._token else {}
            try:
                return self._open(urllib.request.Request(url, body, {**(headers or {}), **bearer}, method=method))
            except urllib.error.HTTPError as refusal:
                with refusal:
                    if refusal.code != 401 or attempt == 2:
                        raise PushError(
                            f"{method} {path}", refusal.code, refusal.read().decode(errors="replace")
                        ) from None
                    self._token = self._token_for(refusal.headers["WWW-Authenticate"])
        raise AssertionError("unreachable")

    def _token_for(self, challenge: str) -> str:
        """Raises PushError, also where the realm lies elsewhere: a password does not leave this machine in clear."""
        asked = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        if urllib.parse.urlsplit(asked["realm"]).hostname not in self._trusted:
            raise PushError(f"the realm {asked['realm']}", 401, "it is not on this machine")
        scope = {"service": asked["service"], "scope": f"repository:{self._name}:pull,push"}
        url = f"{asked['realm']}?{urllib.parse.urlencode(scope)}"
        try:
            with self._open(urllib.request.Request(url, headers={"Authorization": f"Basic {self._basic}"})) as answer:
                granted: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise PushError("a token", refusal.code, refusal.read().decode(errors="replace")) from None
        return str(granted.get("token") or granted["access_token"])

    def _open(self, request: urllib.request.Request) -> HTTPResponse:
        answer: HTTPResponse = self._opener.open(request, timeout=60)
        return answer

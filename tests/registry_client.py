"""A small registry client with Docker's habits: asks, is challenged, fetches a token for several scopes, asks again."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
TIMEOUT = (3, 15)


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Image:
    """A manifest with its blobs; `text` makes one differ from another."""

    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        return sha256(self.manifest)


def image(text: str, **extra: Any) -> Image:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("greeting")
        entry.size = len(text.encode())
        archive.addfile(entry, io.BytesIO(text.encode()))
    layer = gzip.compress(raw.getvalue(), mtime=0)
    rootfs = {"type": "layers", "diff_ids": [sha256(raw.getvalue())]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [{**_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer), **extra}],
    }
    return Image(json.dumps(manifest).encode(), (config, layer))


def index_of(*images: Image) -> bytes:
    manifests = [
        {**_descriptor(MANIFEST_TYPE, each.manifest), "platform": {"os": "linux", "architecture": "amd64"}}
        for each in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}).encode()


def _descriptor(kind: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": sha256(content), "size": len(content)}


@dataclass
class Client:
    """`host` is HOST:PORT, plain HTTP. Without a user name it asks for tokens as nobody."""

    host: str
    username: str = ""
    password: str = ""
    tokens: dict[str, str] = field(default_factory=dict)

    def login(self) -> int:
        """What `docker login` does: the status of /v2/ with a token for no scope."""
        return self._send("GET", "/v2/", scopes=()).status_code

    def push(self, repository: str, tag: str, pushed: Image) -> str:
        """Raises requests.HTTPError with the registry's refusal."""
        for blob in pushed.blobs:
            self.upload(repository, blob)
        self.put_manifest(repository, tag, pushed.manifest, MANIFEST_TYPE)
        return pushed.digest

    def upload(self, repository: str, blob: bytes) -> None:
        started = self._send("POST", f"/v2/{repository}/blobs/uploads/", scopes=(f"repository:{repository}:pull,push",))
        started.raise_for_status()
        self._finish(repository, started.headers["Location"], blob)

    def mount(self, target: str, source: str, digest: str) -> requests.Response:
        """Cross-repository mount, with the two scopes that Docker asks for at once. 201: mounted; 202: upload it."""
        scopes = (f"repository:{source}:pull", f"repository:{target}:pull,push")
        return self._send("POST", f"/v2/{target}/blobs/uploads/?mount={digest}&from={source}", scopes=scopes)

    def put_manifest(self, repository: str, tag: str, manifest: bytes, kind: str) -> None:
        path = f"/v2/{repository}/manifests/{tag}"
        scopes = (f"repository:{repository}:pull,push",)
        self._send("PUT", path, scopes=scopes, data=manifest, headers={"Content-Type": kind}).raise_for_status()

    def manifest(self, repository: str, reference: str) -> requests.Response:
        headers = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}
        return self._get(repository, f"manifests/{reference}", headers)

    def blob(self, repository: str, digest: str) -> requests.Response:
        return self._get(repository, f"blobs/{digest}", {})

    def delete_manifest(self, repository: str, digest: str) -> requests.Response:
        return self._send(
            "DELETE", f"/v2/{repository}/manifests/{digest}", scopes=(f"repository:{repository}:pull,push,delete",)
        )

    def token_answer(self, *scopes: str) -> requests.Response:
        """The token service's answer to what the registry's challenge says to ask."""
        challenge = requests.get(f"http://{self.host}/v2/", timeout=TIMEOUT).headers["WWW-Authenticate"]
        found = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        auth = (self.username, self.password) if self.username else None
        query = [("account", self.username), ("service", found["service"]), *(("scope", scope) for scope in scopes)]
        return requests.get(found["realm"], params=query, auth=auth, timeout=TIMEOUT)

    def _get(self, repository: str, what: str, headers: Mapping[str, str]) -> requests.Response:
        scopes = (f"repository:{repository}:pull",)
        return self._send("GET", f"/v2/{repository}/{what}", scopes=scopes, headers=headers)

    def _finish(self, repository: str, location: str, blob: bytes) -> None:
        path = location.removeprefix(f"http://{self.host}")
        joint = "&" if "?" in path else "?"
        scopes = (f"repository:{repository}:pull,push",)
        headers = {"Content-Type": "application/octet-stream"}
        sent = self._send("PUT", f"{path}{joint}digest={sha256(blob)}", scopes=scopes, data=blob, headers=headers)
        sent.raise_for_status()

    def _send(
        self,
        method: str,
        path: str,
        *,
        scopes: tuple[str, ...],
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        sent = {**(headers or {}), **self._authorization(scopes)}
        return requests.request(
            method, f"http://{self.host}{path}", data=data, headers=sent, timeout=TIMEOUT, allow_redirects=False
        )

    def _authorization(self, scopes: tuple[str, ...]) -> dict[str, str]:
        key = " ".join(scopes)
        if key not in self.tokens:
            answer = self.token_answer(*scopes)
            if answer.status_code != 200:
                return {}
            self.tokens[key] = answer.json()["token"]
        return {"Authorization": f"Bearer {self.tokens[key]}"}

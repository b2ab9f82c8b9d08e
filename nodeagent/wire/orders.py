"""The attachments `routes.json` and `volumes.json`: what a release's containers are reached by and keep.

Both are RFC 8785 canonical JSON, arrays of these objects; the statement signs the digest of the bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from .decode import Between, Items, Name, Text
from .heartbeat import RouteMode

AbsolutePath = Annotated[str, Text(4096, r"(/(?!\.{1,2}(/|$))[^/\x00]+)+")]
UrlPath = Annotated[str, Text(1024, r"/[^\x00-\x20\x7f]*")]


@dataclass(frozen=True, slots=True)
class RouteOrder:
    """One route: `host` null gets a host of its own; `health_path` is asked before the switch, if there is one."""

    service: Name
    port: Annotated[int, Between(1, 65535)]
    mode: RouteMode
    host: Annotated[str, Text(253, r"[A-Za-z0-9*]([A-Za-z0-9.-]*[A-Za-z0-9])?")] | None
    path: UrlPath
    health_path: UrlPath | None


@dataclass(frozen=True, slots=True)
class DirectorySource:
    """A volume that is a directory: at `path`, and only if it carries the provider's marker with the volume's id."""

    kind: Literal["directory"]
    path: AbsolutePath


@dataclass(frozen=True, slots=True)
class DeviceSource:
    """A volume that is a block device: at `path`, with this `serial`, of at least `size_bytes`. It is formatted as
    `format` only if it is positively blank, and never if that is null."""

    kind: Literal["device"]
    path: AbsolutePath
    serial: Annotated[str, Text(255)]
    size_bytes: Annotated[int, Between(1)]
    format: Literal["ext4"] | None


@dataclass(frozen=True, slots=True)
class VolumeOrder:
    """One volume of the environment: the name in the Compose file, the provider's id, and where its bytes are."""

    name: Name
    id: Annotated[str, Text(128)]
    source: DirectorySource | DeviceSource
    read_only: bool


ROUTES = Annotated[tuple[RouteOrder, ...], Items(500)]
VOLUMES = Annotated[tuple[VolumeOrder, ...], Items(200)]

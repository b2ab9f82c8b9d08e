"""The interface that every source of servers and volumes has: what is asked, what is answered, and what may be assumed.

Pure: no Django, no vendor's library. A provider is a class with the methods of ComputeProvider, constructed as
`Class(options, credentials)` by `providers.registry`; its errors are those of `providers.errors`.

Three promises hold for every method:

* it is one bounded exchange of requests with timeouts, and never sleeps; what takes longer is answered as an Operation,
  which the caller stores and polls;
* it is safe to repeat: asking for what is already so is answered without a write;
* nothing foreign is touched: a resource without our key is neither adopted, changed nor deleted.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

GB = 10**9
"""Bytes in a gigabyte, everywhere in this package: decimal, as all the clouds here count."""

MANAGED_BY = "sam"

_LABEL_MAX_LENGTH = 63
_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")

T = TypeVar("T")


def _label_value(text: str) -> str:
    """The text itself where it is a valid label value, else its hash: cutting it could leave a "-" at the end."""
    if len(text) <= _LABEL_MAX_LENGTH and _LABEL_VALUE.fullmatch(text):
        return text
    return "h-" + _short_hash(text)


def _short_hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.b32encode(digest).decode().lower().rstrip("=")[:20]


@dataclass(frozen=True, slots=True)
class ResourceKey:
    """What a server or volume is, in our words: the same key never has two live resources at a provider."""

    installation: str
    """Which control plane it belongs to: random, made once per installation."""
    environment_id: str
    name: str
    """Within the environment, such as "node" or a volume's name."""

    def cloud_name(self) -> str:
        """The name at the cloud: a valid host name (RFC 1123) of 23 characters, equal for equal keys, for ever."""
        return "sw-" + _short_hash(f"{self.installation}\0{self.environment_id}\0{self.name}")

    def labels(self) -> dict[str, str]:
        """The labels at the cloud; values that no label can carry are hashed."""
        return {
            "managed-by": MANAGED_BY,
            "installation": _label_value(self.installation),
            "environment": _label_value(self.environment_id),
            "resource": _label_value(self.name),
        }

    def is_on(self, labels: Mapping[str, str]) -> bool:
        """Whether a resource with these labels is this key's."""
        return self.labels().items() <= labels.items()

    @staticmethod
    def from_labels(labels: Mapping[str, str]) -> ResourceKey | None:
        """The key as far as the labels tell it (hashed values stay hashed); None where the resource is not ours."""
        if labels.get("managed-by") != MANAGED_BY:
            return None
        try:
            return ResourceKey(labels["installation"], labels["environment"], labels["resource"])
        except KeyError:
            return None


class ServerState(StrEnum):
    CREATING = "creating"
    STOPPED = "stopped"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    DELETING = "deleting"
    LOCKED = "locked"
    UNKNOWN = "unknown"


class VolumeState(StrEnum):
    CREATING = "creating"
    AVAILABLE = "available"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    RESIZING = "resizing"
    DELETING = "deleting"
    ERROR = "error"
    UNKNOWN = "unknown"


class Filesystem(StrEnum):
    EXT4 = "ext4"
    XFS = "xfs"


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server as it shall be. `image` is empty for the account's default."""

    key: ResourceKey
    location: str
    size: str
    image: str
    user_data: str = field(repr=False)
    ssh_key_ids: tuple[str, ...] = ()
    firewall_ids: tuple[str, ...] = ()
    placement_group_id: str | None = None


@dataclass(frozen=True, slots=True)
class Server:
    """A server as the provider describes it now."""

    id: str
    key: ResourceKey | None
    name: str
    location: str
    size: str
    state: ServerState
    ipv4: str | None = None
    ipv6: str | None = None
    attached_volume_ids: tuple[str, ...] = ()
    """Data volumes."""
    owned_volume_ids: tuple[str, ...] = ()
    """Volumes that came with the server and are paid for on their own. Keep them with the server's row: a deletion
    whose worker died needs them to find what is left."""
    created_at: datetime | None = None
    raw_state: str = ""
    """The provider's own word, for people."""


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A volume as it shall be. The node formats it with `filesystem`, never the provider."""

    key: ResourceKey
    location: str
    size_gb: int
    filesystem: Filesystem = Filesystem.EXT4


@dataclass(frozen=True, slots=True)
class Volume:
    """A volume as the provider describes it now."""

    id: str
    key: ResourceKey | None
    name: str
    location: str
    size_gb: int
    state: VolumeState
    server_id: str | None = None
    """Set from the moment an attachment begins until a detachment has ended."""
    device_path: str | None = None
    """The device on the node (a by-id link); None where there is no device, then `directory` says what to bind."""
    device_serial: str | None = None
    """What the node must find as the device's serial (udev's ID_SERIAL) before it believes the path."""
    directory: str | None = None
    formatted: bool = False
    """Whether the provider put a file system on it."""
    created_at: datetime | None = None
    raw_state: str = ""


@dataclass(frozen=True, slots=True)
class Location:
    name: str
    description: str = ""


@dataclass(frozen=True, slots=True)
class Size:
    """A size of server. The price is the provider's own figure, per month, without taxes; None where unknown."""

    name: str
    cores: int
    memory_mb: int
    disk_gb: int
    architecture: str = "x86_64"
    locations: tuple[str, ...] = ()
    """Where it can be had now; empty: everywhere."""
    monthly_price: Decimal | None = None
    currency: str = "EUR"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What an account can order, as its provider said at `as_of`."""

    locations: tuple[Location, ...]
    sizes: tuple[Size, ...]
    as_of: datetime


@dataclass(frozen=True, slots=True)
class VolumeConstraints:
    """Rules on volumes. Asked by the control plane, checked by `providers.rules` before any request."""

    min_gb: int
    max_gb: int
    max_attached_per_server: int
    """Data volumes; a boot volume is not counted."""
    step_gb: int = 1
    grow_only: bool = True
    resize_while_attached: bool = True
    same_location: bool = True
    formats_on_create: frozenset[Filesystem] = frozenset()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can do. Nothing outside this package asks which provider it is."""

    locations: tuple[Location, ...]
    """Known without asking, the default first; `catalogue` asks."""
    sizes: tuple[Size, ...]
    """Known without asking, the default first; `catalogue` tells all of them, and their prices."""
    volumes: VolumeConstraints
    user_data_max_bytes: int
    unique_names: bool
    """Whether the provider itself refuses a second resource of the same name."""
    device_path_known_before_attach: bool
    servers: bool = True
    serves_many_environments: bool = False
    """The provider has one server, and answers it for every key of the installation. It is never swept as an orphan,
    and giving it back is for when no environment is left on it."""
    default_image: str = ""
    locations_are_all: bool = True
    """Whether a location that is not listed can be refused without asking."""


@dataclass(frozen=True, slots=True)
class Operation:
    """Something under way at the provider. `token` is opaque JSON of at most 1 KiB: store it, it survives a restart.

    `overdue` is empty, or says since when and for what the provider has been busy longer than it should: show it, go on
    polling, and do not repeat the call.
    """

    token: str
    poll_after_s: float
    overdue: str = ""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What a call answered. `pending` None: settled. `surplus`: ids of further resources with the same key, which only
    a foreign hand can have made; report them, they are not touched."""

    value: T
    pending: Operation | None = None
    surplus: tuple[str, ...] = ()


class Verdict(StrEnum):
    OK = "ok"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """The provider's API does not tell; `cure` says where a person can look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of what checking an account found."""

    subject: str
    """credentials, rights, locations, sizes, volumes, quotas."""
    verdict: Verdict
    detail: str
    cure: str = ""


class ComputeProvider(Protocol):
    """A source of servers and volumes. Raises the errors of `providers.errors` and no others."""

    @property
    def capabilities(self) -> Capabilities: ...

    def create_server(self, spec: ServerSpec) -> Outcome[Server]:
        """Idempotent by `spec.key`: a server that matches is resumed and answered, one that differs is SpecMismatch.

        Settled means powered on, by a boot that saw the user data. Call again after a crash: it goes on where it
        stopped. After OutcomeUnknown wait `idempotent.SETTLE_WINDOW_SECONDS` before calling again: clouds list late.
        """
        ...

    def get_server(self, server_id: str) -> Server:
        """Raises NotFound."""
        ...

    def list_servers(self, *, installation: str, environment_id: str | None = None) -> list[Server]:
        """All of them or an error; never a part. With an environment: those that serve it."""
        ...

    def delete_server(self, server_id: str, *, owned_volume_ids: tuple[str, ...] = ()) -> Operation | None:
        """Give the server back, and what it owns; those recorded earlier are named by `owned_volume_ids`.

        Missing is done. Data volumes are never deleted; detach them first.
        """
        ...

    def create_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        """Idempotent by `spec.key`. A size below the minimum is InvalidRequest: `rules.rounded_size` rounds up.

        An existing volume that is larger than `spec.size_gb` matches; a smaller one is answered as it is, to grow.
        """
        ...

    def get_volume(self, volume_id: str) -> Volume:
        """Raises NotFound."""
        ...

    def list_volumes(self, *, installation: str, environment_id: str | None = None) -> list[Volume]:
        """Data volumes. All of them or an error; never a part."""
        ...

    def attach_volume(self, volume_id: str, server_id: str) -> Outcome[Volume]:
        """Attached there already is success. Attached elsewhere is PreconditionFailed: it is never taken away."""
        ...

    def detach_volume(self, volume_id: str) -> Outcome[Volume]:
        """Detached already is success."""
        ...

    def resize_volume(self, volume_id: str, size_gb: int) -> Outcome[Volume]:
        """Grow to `size_gb`; that size already is success without a write, smaller is InvalidRequest."""
        ...

    def delete_volume(self, volume_id: str) -> Operation | None:
        """Missing is done. Attached is PreconditionFailed: nothing is detached on the way."""
        ...

    def poll(self, op: Operation) -> Operation | None:
        """None: settled. Raises OperationFailed, or the more precise error where the provider's code says it."""
        ...

    def catalogue(self) -> Catalogue:
        """Locations, sizes and prices as the provider tells them now."""
        ...

    def check(self) -> tuple[Finding, ...]:
        """What the provider's API tells of credentials, rights, locations, sizes and quotas. Raises nothing of its own:
        a failure is a finding."""
        ...

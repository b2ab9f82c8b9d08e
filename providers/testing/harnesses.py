"""A provider in front of a world that a test can look into and disturb: one harness per provider, one shape for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from providers.hetzner import HetznerProvider
from providers.local import LOCATION, SIZE, LocalProvider
from providers.ports import ComputeProvider, Operation, Outcome, ResourceKey, Server, ServerSpec, Volume, VolumeSpec
from providers.scaleway import ScalewayProvider
from providers.testing import fake_hetzner, fake_scaleway
from providers.testing.loopback import Faults
from providers.testing.vendor_data import directory

INSTALLATION = "1f0e8a52-5f4e-4d0e-9d54-1a2b3c4d5e6f"
ENVIRONMENT = "9a1d4c1e-7b7f-4a39-8f57-2f1b0e6d7c8b"
USER_DATA = "#cloud-config\nwrite_files: [{path: /run/token, content: one-time-secret}]\n"
_POLLS_MAX = 200


@dataclass(frozen=True, slots=True)
class Kept:
    """A resource as the cloud itself has it, past any API."""

    labels: Mapping[str, str]
    location: str
    size_gb: int = 0
    server_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cloud:
    servers: Mapping[str, Kept]
    volumes: Mapping[str, Kept]
    """Data volumes, foreign ones included; not what servers own."""

    def servers_of(self, key: ResourceKey) -> list[str]:
        return [server_id for server_id, kept in self.servers.items() if key.is_on(kept.labels)]

    def volumes_of(self, key: ResourceKey) -> list[str]:
        return [volume_id for volume_id, kept in self.volumes.items() if key.is_on(kept.labels)]


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Harness(ABC):
    """`provider` is what is tested; the rest is how."""

    provider: ComputeProvider
    location: ClassVar[str]
    other_location: ClassVar[str]
    size: ClassVar[str]
    other_size: ClassVar[str]

    def __init__(self) -> None:
        self.clock = Clock()

    @abstractmethod
    def cloud(self) -> Cloud: ...

    @abstractmethod
    def advance(self, polls: int = 1) -> None:
        """Let time pass in the cloud."""

    @abstractmethod
    def close(self) -> None:
        """End what the harness started; raises AssertionError if the world itself did something wrong."""

    def settle(self, op: Operation | None) -> None:
        for _ in range(_POLLS_MAX):
            if op is None:
                return
            op = self.provider.poll(op)
        raise AssertionError(f"still pending after {_POLLS_MAX} polls: {op}")

    def key(self, name: str = "node") -> ResourceKey:
        return ResourceKey(INSTALLATION, ENVIRONMENT, name)

    def server_spec(self, name: str = "node", **changes: Any) -> ServerSpec:
        return replace(ServerSpec(self.key(name), self.location, self.size, "", USER_DATA), **changes)

    def volume_spec(self, name: str = "data", **changes: Any) -> VolumeSpec:
        return replace(VolumeSpec(self.key(name), self.location, self.minimum), **changes)

    @property
    def minimum(self) -> int:
        return self.provider.capabilities.volumes.min_gb

    def server(self, name: str = "node") -> Server:
        """A server that runs."""
        return self._settled_server(self.provider.create_server(self.server_spec(name)))

    def volume(self, name: str = "data") -> Volume:
        """A volume that is available."""
        outcome = self.provider.create_volume(self.volume_spec(name))
        self.settle(outcome.pending)
        return self.provider.get_volume(outcome.value.id)

    def attached(self, name: str = "data") -> tuple[Volume, Server]:
        server, volume = self.server(), self.volume(name)
        self.settle(self.provider.attach_volume(volume.id, server.id).pending)
        return self.provider.get_volume(volume.id), server

    def _settled_server(self, outcome: Outcome[Server]) -> Server:
        self.settle(outcome.pending)
        return self.provider.get_server(outcome.value.id)


class LocalHarness(Harness):
    location, other_location = LOCATION, "elsewhere"
    size, other_size = SIZE, "mainframe"

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.options = {"node_dir": str(root / "node"), "volumes_dir": str(root / "volumes")}
        self.provider = LocalProvider(self.options)

    def cloud(self) -> Cloud:
        servers = self.provider.list_servers(installation=INSTALLATION)
        volumes = self.provider.list_volumes(installation=INSTALLATION)
        return Cloud(
            {server.id: Kept(server.key.labels() if server.key else {}, server.location) for server in servers},
            {
                volume.id: Kept(
                    volume.key.labels() if volume.key else {}, volume.location, volume.size_gb,
                    (volume.server_id,) if volume.server_id else (),
                )
                for volume in volumes
            },
        )  # fmt: skip

    def advance(self, polls: int = 1) -> None:
        """Nothing takes time here."""

    def close(self) -> None:
        """Nothing was started."""


class FakeHarness(Harness):
    """A real SDK against a fake cloud. Faults are ordered by the names of the interface's calls."""

    fake: fake_hetzner.FakeHetzner | fake_scaleway.FakeScaleway
    refusals: ClassVar[Mapping[str, tuple[int, str]]]
    """Our word for a refusal -> the vendor's status and code."""

    options: ClassVar[dict[str, str]] = {"poll_seconds": "0.01", "request_timeout_seconds": "2"}

    @property
    def faults(self) -> Faults:
        return self.fake.faults

    def advance(self, polls: int = 1) -> None:
        self.fake.advance(polls)

    def close(self) -> None:
        self.fake.close()
        if self.fake.crashes:
            raise AssertionError("the fake itself failed:\n" + "\n".join(self.fake.crashes))

    def inject(self, kind: str, call: str, **arguments: Any) -> None:
        self.faults.inject(kind, on=self.named(call), **arguments)

    def refuse(self, word: str, call: str, times: int = 1) -> None:
        status, code = self.refusals[word]
        self.inject("refuse", call, times=times, status=status, code=code)

    def named(self, call: str) -> str:
        return call

    def writes(self) -> list[str]:
        """The writes that reached the cloud, in order."""
        with self.fake.lock:
            return [call for call in self.fake.calls if call in self.write_calls]

    @property
    @abstractmethod
    def write_calls(self) -> frozenset[str]: ...

    @abstractmethod
    def rebuilt_provider(self, **options: str) -> ComputeProvider:
        """The same account in another worker."""

    @abstractmethod
    def without_rights(self, *, read_only: bool) -> ComputeProvider:
        """The same project with a credential that is refused, or that only reads."""

    @abstractmethod
    def seed_server(self, *, name: str, labels: Mapping[str, str], size: str | None = None) -> str:
        """A server that somebody else made."""

    @abstractmethod
    def seed_volume(self, *, name: str, labels: Mapping[str, str], size_gb: int | None = None) -> str: ...

    @abstractmethod
    def protect_server(self, server_id: str) -> None: ...

    @abstractmethod
    def remove_by_hand(self, resource_id: str) -> None:
        """As a person would in the vendor's console."""

    @abstractmethod
    def billed(self) -> int:
        """How many servers and volumes are paid for, whoever made them, roots included."""

    @abstractmethod
    def user_data_at_boot(self, server_id: str) -> str | None: ...

    @property
    @abstractmethod
    def secrets(self) -> tuple[str, ...]: ...


class HetznerHarness(FakeHarness):
    location, other_location = "nbg1", "fsn1"
    size, other_size = "cx23", "cx33"
    write_calls = fake_hetzner.WRITES
    secrets = (fake_hetzner.TOKEN, "one-time-secret", "root-password-of-the-fake")
    refusals: ClassVar[Mapping[str, tuple[int, str]]] = {
        "rate": (429, "rate_limit_exceeded"),
        "busy": (423, "locked"),
        "conflict": (409, "conflict"),
        "auth": (401, "unauthorized"),
        "forbidden": (403, "forbidden"),
        "quota": (403, "resource_limit_exceeded"),
        "capacity": (412, "resource_unavailable"),
        "unavailable": (503, "unavailable"),
        "limit": (422, "limit_exceeded_error"),
    }
    fake: fake_hetzner.FakeHetzner

    def __init__(self) -> None:
        super().__init__()
        self.fake = fake_hetzner.FakeHetzner(directory("hetzner") / "hcloud.json")
        self.provider = self.rebuilt_provider()

    def close(self) -> None:
        super().close()
        if self.fake.broken_answers:
            raise AssertionError("not as described:\n" + "\n".join(self.fake.broken_answers))

    def rebuilt_provider(self, **options: str) -> ComputeProvider:
        return self._provider(fake_hetzner.TOKEN, **options)

    def without_rights(self, *, read_only: bool) -> ComputeProvider:
        return self._provider(fake_hetzner.READ_ONLY_TOKEN if read_only else "x" * 64)

    def _provider(self, token: str, **options: str) -> ComputeProvider:
        given = {"api_url": self.fake.api_url, **self.options, **options}
        return HetznerProvider(given, {"token": token}, clock=self.clock)

    def cloud(self) -> Cloud:
        with self.fake.lock:
            return Cloud(
                {
                    str(server_id): Kept(server["labels"], server["location"]["name"])
                    for server_id, server in self.fake.servers.items()
                    if server["status"] != "deleting"
                },
                {
                    str(volume_id): Kept(
                        volume["labels"], volume["location"]["name"], int(volume["size"]),
                        tuple(str(s["id"]) for s in self.fake.servers.values() if volume_id in s["volumes"]),
                    )
                    for volume_id, volume in self.fake.volumes.items()
                },
            )  # fmt: skip

    def seed_server(self, *, name: str, labels: Mapping[str, str], size: str | None = None) -> str:
        return str(self.fake.seed_server(name, dict(labels), self.location, size or self.size))

    def seed_volume(self, *, name: str, labels: Mapping[str, str], size_gb: int | None = None) -> str:
        return str(self.fake.seed_volume(name, dict(labels), self.location, size_gb or self.minimum))

    def protect_server(self, server_id: str) -> None:
        self.fake.servers[int(server_id)]["protection"]["delete"] = True

    def remove_by_hand(self, resource_id: str) -> None:
        with self.fake.lock:
            self.fake.servers.pop(int(resource_id), None)
            self.fake.volumes.pop(int(resource_id), None)

    def user_data_at_boot(self, server_id: str) -> str | None:
        return self.fake.user_data.get(int(server_id))

    def billed(self) -> int:
        return len(self.fake.servers) + len(self.fake.volumes)


class ScalewayHarness(FakeHarness):
    location, other_location = "fr-par-1", "nl-ams-1"
    size, other_size = "DEV1-S", "DEV1-M"
    write_calls = fake_scaleway.WRITES | {"poweron", "terminate"}
    secrets = (fake_scaleway.SECRET_KEY, "one-time-secret")
    refusals: ClassVar[Mapping[str, tuple[int, str]]] = {
        "rate": (429, "too_many_requests"),
        "busy": (409, "transient_state"),
        "conflict": (409, "conflict"),
        "auth": (401, "denied_authentication"),
        "forbidden": (403, "permissions_denied"),
        "quota": (403, "quotas_exceeded"),
        "capacity": (412, "out_of_stock"),
    }
    fake: fake_scaleway.FakeScaleway

    def __init__(self) -> None:
        super().__init__()
        self.fake = fake_scaleway.FakeScaleway()
        self.provider = self.rebuilt_provider()

    def named(self, call: str) -> str:
        """A running server is not deleted but terminated."""
        return "terminate" if call == "delete_server" else call

    def rebuilt_provider(self, **options: str) -> ComputeProvider:
        return self._provider(fake_scaleway.SECRET_KEY, **options)

    def without_rights(self, *, read_only: bool) -> ComputeProvider:
        return self._provider(fake_scaleway.READ_ONLY_KEY if read_only else "5ec2e700-0000-4000-8000-00000000000f")

    def _provider(self, secret_key: str, **options: str) -> ComputeProvider:
        zones = f"{self.location},{self.other_location}"
        given = {"api_url": self.fake.api_url, "zones": zones, **self.options, **options}
        credentials = {
            "access_key": fake_scaleway.ACCESS_KEY,
            "secret_key": secret_key,
            "project_id": fake_scaleway.PROJECT_ID,
        }
        return ScalewayProvider(given, credentials, clock=self.clock)

    def cloud(self) -> Cloud:
        with self.fake.lock:
            servers = {i: kept.shown for i, kept in self.fake.servers.items()}
            volumes = {i: kept.shown for i, kept in self.fake.volumes.items()}
        roots = {i for i, volume in volumes.items() if volume["name"].endswith("_sbs_volume_0")}
        return Cloud(
            {
                server_id: Kept(_labels(server), server["zone"])
                for server_id, server in servers.items()
                if server["state"] != "stopping"
            },
            {
                volume_id: Kept(
                    _labels(volume), volume["zone"], volume["size"] // 10**9,
                    tuple(reference["product_resource_id"] for reference in volume["references"]),
                )
                for volume_id, volume in volumes.items()
                if volume_id not in roots
            },
        )  # fmt: skip

    def seed_server(self, *, name: str, labels: Mapping[str, str], size: str | None = None) -> str:
        return self.fake.seed_server(name, _tags(labels), self.location, size or self.size)

    def seed_volume(self, *, name: str, labels: Mapping[str, str], size_gb: int | None = None) -> str:
        return self.fake.seed_volume(name, _tags(labels), self.location, (size_gb or self.minimum) * 10**9)

    def protect_server(self, server_id: str) -> None:
        self.fake.servers[server_id].shown["protected"] = True

    def remove_by_hand(self, resource_id: str) -> None:
        with self.fake.lock:
            self.fake.servers.pop(resource_id, None)
            self.fake.volumes.pop(resource_id, None)

    def user_data_at_boot(self, server_id: str) -> str | None:
        booted_with = self.fake.servers[server_id].booted_with
        return None if booted_with is None else booted_with.decode()

    def billed(self) -> int:
        """Without the root volume of the server that a test seeds."""
        roots_of_foreign = sum(kept.shown["name"] == "theirs_sbs_volume_0" for kept in self.fake.volumes.values())
        return len(self.fake.servers) + len(self.fake.volumes) - roots_of_foreign


def _labels(shown: Mapping[str, Any]) -> dict[str, str]:
    return dict(tag.split("=", 1) for tag in shown["tags"] if "=" in tag)


def _tags(labels: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in labels.items()]

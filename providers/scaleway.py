"""Scaleway behind the interface: Instances with a root volume on Block Storage, through the official SDK in its fence.

Credentials: `access_key`, `secret_key`, `project_id`. Options: those of `providers.options`, and `zones` (those to use,
separated by commas; the SDK's own list lacks some) and `root_gb` (the size of a server's root volume).
Facts: the SDK's sources and its recorded answers, marked by what they come from. Nothing here was run against the real
cloud; what could only be guessed is marked "unverified".

A server takes three writes (create, user data, power-on) that nothing makes one. So a stopped server is never just
answered: the user data is set again and it is powered on; and since cloud-init runs once, a server that was powered on
without user data can only be rebuilt.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scaleway.block.v1 import CreateVolumeRequestFromEmpty
from scaleway.instance.v1 import (
    AttachServerVolumeRequestVolumeType,
    BootType,
    ServerAction,
    VolumeServerTemplate,
    VolumeVolumeType,
)
from scaleway.marketplace.v2 import LocalImageType

from providers import idempotent, options, rules
from providers import scaleway_values as values
from providers.errors import (
    AuthFailed,
    Busy,
    CapacityUnavailable,
    InvalidRequest,
    LimitExceeded,
    NotFound,
    OperationFailed,
    OutcomeUnknown,
    PreconditionFailed,
    ProviderError,
)
from providers.operations import operation, state_of
from providers.ports import (
    GB,
    Capabilities,
    Catalogue,
    Finding,
    Location,
    Operation,
    Outcome,
    ResourceKey,
    Server,
    ServerSpec,
    ServerState,
    Size,
    Verdict,
    Volume,
    VolumeConstraints,
    VolumeSpec,
    VolumeState,
)
from providers.scaleway_fence import Fence, readable
from providers.scaleway_zones import Zones, complete

API_URL = "https://api.scaleway.com"
CONSOLE = "https://console.scaleway.com/"
IMAGE = "debian_trixie"
"""The marketplace's label of Debian 13; unverified that it is this one."""
ZONES = (
    "fr-par-1", "fr-par-2", "fr-par-3", "nl-ams-1", "nl-ams-2", "nl-ams-3", "pl-waw-1", "pl-waw-2", "pl-waw-3",
    "it-mil-1",
)  # fmt: skip
POLL_SECONDS = 3.0
ROOT_GB = 20
SIZE = Size("DEV1-S", cores=2, memory_mb=2147, disk_gb=0)
"""The default: the smallest that was recorded."""
PERF_IOPS = 5000
USER_DATA_KEY = "cloud-init"
USER_DATA_MAX_BYTES = 32 * 1024
"""Unverified: no document names a limit. The one of the other cloud, so that user data fits everywhere."""

VOLUMES = VolumeConstraints(min_gb=5, max_gb=10_000, max_attached_per_server=15)
"""The minimum: Block Storage FAQ (the SDK would take 1). Attachments: 16 with the boot volume, scaleway-csi
`pkg/driver/helpers.go`. The maximum: scaleway-csi `pkg/scaleway/scaleway.go`."""

_DEADLINE_SECONDS = {"server": 600.0, "volume": 300.0, "gone": 600.0}
"""After which an operation is called overdue. Our own figures: the vendor promises none."""
_STAYS_STOPPED_SECONDS = 120.0
"""A server that is still stopped this long after its power-on was accepted will not start. Unverified what the API
shows when capacity ends in between; `state_detail` is repeated."""


class ScalewayProvider:
    """One project at Scaleway, in the zones of its option. A location is a zone."""

    def __init__(
        self,
        account_options: Mapping[str, Any],
        credentials: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        access_key, secret_key, project_id = options.required(credentials, "access_key", "secret_key", "project_id")
        self._options = options.read(
            account_options, api_url=API_URL, image=IMAGE, poll_seconds=POLL_SECONDS, more=("zones", "root_gb")
        )
        zones = values.zones(str(account_options.get("zones") or "")) or ZONES
        self._zones = Zones(project_id, zones)
        self._root_gb = values.root_gb(account_options.get("root_gb", ROOT_GB), VOLUMES.min_gb)
        self._project_id = project_id
        self._clock = clock
        self._fence = Fence(
            access_key=access_key, secret_key=secret_key, project_id=project_id, api_url=self._options.api_url,
            timeout_seconds=self._options.request_timeout_seconds,
        )  # fmt: skip

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            locations=tuple(Location(zone) for zone in self._zones.names),
            sizes=(SIZE,),
            volumes=VOLUMES,
            user_data_max_bytes=USER_DATA_MAX_BYTES,
            unique_names=False,
            device_path_known_before_attach=True,
            default_image=self._options.image,
        )

    # Servers

    def create_server(self, spec: ServerSpec) -> Outcome[Server]:
        rules.check_server(spec, self.capabilities)
        return idempotent.create_once(
            found=self._servers_of(spec.key),
            differences=lambda server: rules.server_differences(server, spec),
            create=lambda: self._order_server(spec),
            resume=lambda server: self._resume_server(server, spec),
        )

    def _order_server(self, spec: ServerSpec) -> Outcome[Server]:
        image = self._image(spec)
        root = VolumeServerTemplate(
            volume_type=VolumeVolumeType.SBS_VOLUME, size=self._root_gb * GB, name=f"{spec.key.cloud_name()}-root"
        )
        with readable(write=True), _named(location=spec.location, size=spec.size):
            answer = self._fence.instances.create_server(
                zone=spec.location,
                commercial_type=spec.size,
                name=spec.key.cloud_name(),
                image=image,
                # Left out, the kind of root depends on how the image is named: a label gives this, an id may not.
                volumes={"0": root},
                dynamic_ip_required=True,
                boot_type=BootType.LOCAL,
                project=self._project_id,
                tags=values.tags(spec.key),
                security_group=spec.firewall_ids[0] if spec.firewall_ids else None,
                placement_group=spec.placement_group_id,
            )
            made = self._seen_server(answer.server, spec.location)
        with self._interrupted(made.id):
            eldest = idempotent.oldest_first([made, *self._servers_of(spec.key)])[0]
            if eldest.id != made.id:
                return self._yield_to(eldest, made, spec)
            return self._boot(made, spec)

    def _yield_to(self, eldest: Server, made: Server, spec: ServerSpec) -> Outcome[Server]:
        """Two were made at once: the older one counts for everybody, and ours, never powered on, is given back."""
        outcome = self._resume_server(eldest, spec)
        state = state_of(outcome.pending) if outcome.pending else self._state("server", eldest, "running")
        loser = self._deletion(made.id, spec.location, [made.id], made.owned_volume_ids)
        return Outcome(eldest, self._again(state | {"loser": loser}), surplus=(made.id,))

    def _resume_server(self, server: Server, spec: ServerSpec) -> Outcome[Server]:
        if server.state is ServerState.STOPPED:
            return self._boot(server, spec)
        if server.state not in (ServerState.RUNNING, ServerState.STARTING):
            raise Busy(f"Server {server.id} is {server.raw_state}", resource_id=server.id)
        with readable(write=False):
            keys = self._fence.instances.list_server_user_data(server_id=server.id, zone=server.location).user_data
        if USER_DATA_KEY not in (keys or []):
            return Outcome(server, self._again(self._state("server", server, "rebuilt")))
        if server.state is ServerState.RUNNING:
            return Outcome(server)
        return Outcome(server, self._again(self._state("server", server, "running")))

    def _boot(self, server: Server, spec: ServerSpec) -> Outcome[Server]:
        """User data first, always: cloud-init runs once."""
        with readable(write=True), _named(location=spec.location, size=spec.size):
            self._fence.instances.set_server_user_data(
                server_id=server.id, zone=server.location, key=USER_DATA_KEY, content=spec.user_data.encode()
            )
            self._fence.instances.server_action(server_id=server.id, zone=server.location, action=ServerAction.POWERON)
        return Outcome(server, self._again(self._state("server", server, "running")))

    @contextlib.contextmanager
    def _interrupted(self, server_id: str) -> Iterator[None]:
        """After the create, time alone makes no retry safe: the new server may not be listed yet, and asking again
        would make a second one. So what can be retried waits for the settle window, as after an unknown outcome."""
        try:
            yield
        except ProviderError as error:
            may_be_late = isinstance(error, NotFound)
            if (error.retryable or may_be_late) and not isinstance(error, CapacityUnavailable | OutcomeUnknown):
                message = f"Server {server_id} was made and is not booted yet: {error.message}"
                raise OutcomeUnknown(
                    message, provider_code=error.provider_code, correlation_id=error.correlation_id,
                    resource_id=server_id,
                ) from error  # fmt: skip
            error.resource_id = error.resource_id or server_id
            raise

    def _image(self, spec: ServerSpec) -> str:
        wanted = spec.image or self._options.image
        if values.is_uuid(wanted):
            return wanted
        with readable(write=False):
            answer = self._fence.images.list_local_images(
                image_label=wanted, zone=spec.location, type_=LocalImageType.INSTANCE_SBS
            )
            for image in answer.local_images:
                if spec.size in image.compatible_commercial_types:
                    return str(image.id)
        raise InvalidRequest(
            f"There is no image {wanted!r} for {spec.size} in {spec.location}",
            fields={"image": f"{wanted!r} does not exist there, or not for this size"},
        )

    def get_server(self, server_id: str) -> Server:
        with readable(write=False):
            return self._zones.find(server_id, self._get_server)

    def _get_server(self, server_id: str, zone: str) -> Server:
        return self._seen_server(self._fence.instances.get_server(server_id=server_id, zone=zone).server, zone)

    def list_servers(self, *, installation: str, environment_id: str | None = None) -> list[Server]:
        return self._servers(values.tags_of(installation, environment_id))

    def _servers_of(self, key: ResourceKey) -> list[Server]:
        return self._servers(values.tags(key))

    def _servers(self, tags: list[str]) -> list[Server]:
        """In all zones: a server of the key elsewhere would otherwise not be seen, and be made once more."""

        def page_of(zone: str, page: int) -> tuple[Sequence[Any], int]:
            answer = self._fence.instances.list_servers(
                zone=zone, tags=tags, project=self._project_id, page=page, per_page=50
            )
            return answer.servers, int(answer.total_count)

        return [
            self._seen_server(row, zone) for zone, row in self._zones.everywhere(page_of) if set(tags) <= set(row.tags)
        ]

    def delete_server(self, server_id: str, *, owned_volume_ids: tuple[str, ...] = ()) -> Operation | None:
        try:
            server = self.get_server(server_id)
        except NotFound:
            if not owned_volume_ids:
                return None
            zone = self._zones.of_any(owned_volume_ids, self._get_volume)
            return self._continue_deletion(self._deletion(server_id, zone, [], owned_volume_ids))
        volumes = tuple(dict.fromkeys([*server.owned_volume_ids, *owned_volume_ids]))
        state = self._deletion(server_id, server.location, [server_id], volumes)
        return self._again(state | {"asked": self._give_back(server, asked=False), "last": server.raw_state})

    # Volumes

    def create_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        rules.check_volume(spec, self.capabilities)
        return idempotent.create_once(
            found=self._volumes_of(spec.key),
            differences=lambda volume: rules.volume_differences(volume, spec),
            create=lambda: self._order_volume(spec),
            resume=self._resume_volume,
        )

    def _order_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        with readable(write=True), _named(location=spec.location):
            made = self._seen_volume(
                self._fence.blocks.create_volume(
                    zone=spec.location,
                    name=spec.key.cloud_name(),
                    perf_iops=PERF_IOPS,
                    project_id=self._project_id,
                    from_empty=CreateVolumeRequestFromEmpty(size=spec.size_gb * GB),
                    tags=values.tags(spec.key),
                ),
                spec.location,
            )
        with self._interrupted(made.id):
            eldest = idempotent.oldest_first([made, *self._volumes_of(spec.key)])[0]
        state = self._state("volume", eldest, "made")
        if eldest.id == made.id:
            return Outcome(made, self._again(state))
        loser = self._deletion(made.id, spec.location, [], (made.id,))
        return Outcome(eldest, self._again(state | {"loser": loser}), surplus=(made.id,))

    def _resume_volume(self, volume: Volume) -> Outcome[Volume]:
        if volume.state is not VolumeState.CREATING:
            return Outcome(volume)
        return Outcome(volume, self._again(self._state("volume", volume, "made")))

    def get_volume(self, volume_id: str) -> Volume:
        with readable(write=False):
            volume = self._zones.find(volume_id, self._get_volume)
        if volume.raw_state == "deleted":
            raise NotFound(f"Volume {volume_id} is deleted", resource_id=volume_id)
        return volume

    def _get_volume(self, volume_id: str, zone: str) -> Volume:
        return self._seen_volume(self._fence.blocks.get_volume(volume_id=volume_id, zone=zone), zone)

    def list_volumes(self, *, installation: str, environment_id: str | None = None) -> list[Volume]:
        return self._volumes(values.tags_of(installation, environment_id))

    def _volumes_of(self, key: ResourceKey) -> list[Volume]:
        return self._volumes(values.tags(key))

    def _volumes(self, tags: list[str]) -> list[Volume]:
        def page_of(zone: str, page: int) -> tuple[Sequence[Any], int]:
            # Several tags are joined by OR here, unlike with servers: ask with the narrowest, and filter again.
            answer = self._fence.blocks.list_volumes(
                include_deleted=False, zone=zone, project_id=self._project_id, tags=tags[-1:], page=page, page_size=50
            )
            return answer.volumes, int(answer.total_count)

        listed = [
            self._seen_volume(row, zone) for zone, row in self._zones.everywhere(page_of) if set(tags) <= set(row.tags)
        ]
        return [volume for volume in listed if volume.state is not VolumeState.DELETING]

    def attach_volume(self, volume_id: str, server_id: str) -> Outcome[Volume]:
        volume = self.get_volume(volume_id)
        waiting = self._again(self._state("volume", volume, f"on {server_id}"))
        if volume.server_id == server_id and volume.state is VolumeState.ATTACHED:
            return Outcome(volume)
        if volume.server_id == server_id and volume.state is VolumeState.ATTACHING:
            return Outcome(volume, waiting)
        rules.check_attachment(volume, self.get_server(server_id), self.capabilities)
        if volume.state is not VolumeState.AVAILABLE:
            raise Busy(f"Volume {volume_id} is {volume.state}", resource_id=volume_id)
        with readable(write=True), _attaching():
            self._fence.instances.attach_server_volume(
                server_id=server_id,
                zone=volume.location,
                volume_id=volume_id,
                volume_type=AttachServerVolumeRequestVolumeType.SBS_VOLUME,
            )
        return Outcome(replace(volume, state=VolumeState.ATTACHING, server_id=server_id), waiting)

    def detach_volume(self, volume_id: str) -> Outcome[Volume]:
        volume = self.get_volume(volume_id)
        if volume.server_id is None:
            return Outcome(volume)
        waiting = self._again(self._state("volume", volume, "off"))
        if volume.state is VolumeState.DETACHING:
            return Outcome(volume, waiting)
        if volume.state is VolumeState.ATTACHING:
            raise Busy(f"Volume {volume_id} is being attached to {volume.server_id}", resource_id=volume_id)
        try:
            with readable(write=True):
                self._fence.instances.detach_server_volume(
                    server_id=volume.server_id, zone=volume.location, volume_id=volume_id
                )
        except NotFound:
            # The server is gone and is about to let go of it; the volume itself was read a moment ago.
            pass
        except InvalidRequest as error:
            if "is not attached to this server" not in error.message:
                raise
        # The instance forgets the volume at once; the volume itself says "detaching" for a dozen polls more.
        return Outcome(replace(volume, state=VolumeState.DETACHING), waiting)

    def resize_volume(self, volume_id: str, size_gb: int) -> Outcome[Volume]:
        volume = self.get_volume(volume_id)
        if not rules.needs_growth(volume, size_gb, self.capabilities):
            return Outcome(volume)
        with readable(write=True), _named(location=volume.location):
            self._fence.blocks.update_volume(volume_id=volume_id, zone=volume.location, size=size_gb * GB)
        waiting = self._again(self._state("volume", volume, f"size {size_gb}"))
        return Outcome(replace(volume, state=VolumeState.RESIZING), waiting)

    def delete_volume(self, volume_id: str) -> Operation | None:
        try:
            volume = self.get_volume(volume_id)
            if volume.state is VolumeState.DETACHING:
                raise Busy(f"Volume {volume_id} is being detached", resource_id=volume_id)
            if volume.server_id is not None:
                raise PreconditionFailed(f"Volume {volume_id} is attached", in_use_by=volume.server_id)
            if volume.state is not VolumeState.DELETING:
                with readable(write=True):
                    self._fence.blocks.delete_volume(volume_id=volume_id, zone=volume.location)
        except NotFound:
            return None
        return self._again(self._state("volume", volume, "gone"))

    # Operations

    def poll(self, op: Operation) -> Operation | None:
        """There are no tasks to follow (their ids are of no use, server_action): the resource tells how far it is."""
        state = state_of(op)
        if state["want"] == "deleted":
            return self._continue_deletion(state)
        loser = state.pop("loser", None)
        if loser is not None:
            unfinished = self._continue_deletion(loser)
            if unfinished is not None:
                return self._again(state | {"loser": state_of(unfinished)})
        reached, last = self._server_reached(state) if state["kind"] == "server" else self._volume_reached(state)
        return None if reached else self._again(state | {"last": last})

    def _server_reached(self, state: Mapping[str, Any]) -> tuple[bool, str]:
        if state["want"] == "rebuilt":
            raise OperationFailed(
                f"Server {state['id']} was powered on without its user data, and cloud-init runs once",
                resource_id=state["id"],
            )
        try:
            server = self._get_server(state["id"], state["zone"])
        except NotFound as error:
            return self._may_be_late(state, error)
        given_up = self._clock() > state["began"] + _STAYS_STOPPED_SECONDS
        if server.state is ServerState.STOPPED and given_up:
            raise OperationFailed(f"Server {server.id} does not start: {server.raw_state}", resource_id=server.id)
        return server.state is ServerState.RUNNING, server.raw_state

    def _may_be_late(self, state: Mapping[str, Any], error: NotFound) -> tuple[bool, str]:
        """What was just made answers 404 for a while (terraform waits 30 s for it); later it has vanished."""
        if self._clock() < state["began"] + idempotent.SETTLE_WINDOW_SECONDS:
            return False, "not found yet"
        raise OperationFailed(f"{state['kind'].title()} {state['id']} vanished", resource_id=state["id"]) from error

    def _volume_reached(self, state: Mapping[str, Any]) -> tuple[bool, str]:
        kind, _, argument = state["want"].partition(" ")
        try:
            volume = self.get_volume(state["id"])
        except NotFound as error:
            return (True, "gone") if kind in ("gone", "off") else self._may_be_late(state, error)
        if volume.state is VolumeState.ERROR:
            raise OperationFailed(f"Volume {volume.id} is in the state error", resource_id=volume.id)
        if kind == "on" and volume.server_id not in (None, argument):
            raise PreconditionFailed(f"Volume {volume.id} went to another server", in_use_by=volume.server_id)
        return values.is_what_is_wanted(volume, kind, argument), volume.raw_state

    def _deletion(self, name: str, zone: str, servers: list[str], volumes: tuple[str, ...]) -> dict[str, Any]:
        """The state of a deletion: the server first, then what it leaves behind and what would be billed for ever."""
        return {
            "want": "deleted", "zone": zone, "servers": servers, "volumes": list(volumes), "asked": False,
            "what": f"deleting {name}", "deadline": int(self._clock() + _DEADLINE_SECONDS["gone"]),
        }  # fmt: skip

    def _continue_deletion(self, state: dict[str, Any]) -> Operation | None:
        for server_id in state["servers"]:
            try:
                server = self._get_server(server_id, state["zone"])
                state = state | {"last": server.raw_state, "asked": self._give_back(server, asked=state["asked"])}
                return self._again(state)
            except NotFound:
                continue
        left = [volume_id for volume_id in state["volumes"] if not self._is_removed(volume_id, state["zone"])]
        return self._again(state | {"servers": [], "volumes": left}) if left else None

    def _give_back(self, server: Server, *, asked: bool) -> bool:
        """Terminate what runs, delete what is stopped, wait for what is in between. True once it was asked."""
        try:
            with readable(write=True):
                if server.state is ServerState.RUNNING and not asked:
                    self._fence.instances.server_action(
                        server_id=server.id, zone=server.location, action=ServerAction.TERMINATE
                    )
                    return True
                if server.state is ServerState.STOPPED:
                    self._fence.instances.delete_server(server_id=server.id, zone=server.location)
                    return True
        except PreconditionFailed as error:
            if "protected" in error.message.lower():
                raise
            # It changed state since it was read: the next poll reads it anew.
        except Busy:
            pass
        return asked

    def _is_removed(self, volume_id: str, zone: str) -> bool:
        """Delete a volume that a server left, as soon as it lets itself be deleted; True when it is gone."""
        try:
            volume = self._get_volume(volume_id, zone)
            if volume.server_id is None and volume.state in (VolumeState.AVAILABLE, VolumeState.ERROR):
                with readable(write=True):
                    self._fence.blocks.delete_volume(volume_id=volume_id, zone=zone)
        except NotFound:
            return True
        except (Busy, PreconditionFailed):
            pass
        return False

    def _state(self, kind: str, resource: Server | Volume, want: str) -> dict[str, Any]:
        now = int(self._clock())
        return {
            "kind": kind, "id": resource.id, "zone": resource.location, "want": want, "began": now,
            "what": f"{kind} {resource.id} becoming {want}", "deadline": now + int(_DEADLINE_SECONDS[kind]),
        }  # fmt: skip

    def _again(self, state: dict[str, Any]) -> Operation:
        return operation(state, poll_seconds=self._options.poll_seconds, now=self._clock())

    def _seen_server(self, row: Any, zone: str) -> Server:
        self._zones.saw(row.id, zone)
        return values.server(row, zone)

    def _seen_volume(self, row: Any, zone: str) -> Volume:
        self._zones.saw(row.id, zone)
        return values.volume(row, zone)

    # Account

    def catalogue(self) -> Catalogue:
        locations = tuple(Location(zone) for zone in self._zones.names)
        sizes = tuple(size for zone in self._zones.names for size in self._sizes(zone))
        return Catalogue(locations, sizes, as_of=datetime.fromtimestamp(self._clock(), UTC))

    def _sizes(self, zone: str) -> list[Size]:
        """Of a zone; those without Block Storage, or at the end of their service, are left out."""

        def page_of(page: int) -> tuple[Sequence[Any], int]:
            answer = self._fence.instances.list_servers_types(zone=zone, page=page, per_page=50)
            return list((answer.servers or {}).items()), int(answer.total_count)

        try:
            with readable(write=False):
                return [values.size(name, row, zone) for name, row in complete(page_of) if not row.end_of_service]
        except NotFound:
            return []

    def check(self) -> tuple[Finding, ...]:
        zone = self._zones.names[0]
        try:
            sizes = self._sizes(zone)
            with readable(write=False):
                self._fence.instances.list_servers(zone=zone, project=self._project_id, page=1, per_page=1)
                self._fence.blocks.list_volumes(
                    include_deleted=False, zone=zone, project_id=self._project_id, page=1, page_size=1
                )
        except AuthFailed as error:
            return (Finding("credentials", Verdict.FAILED, error.message, error.cure),)
        except ProviderError as error:
            return (Finding("provider", Verdict.FAILED, error.message, error.cure),)
        return (
            Finding("credentials", Verdict.OK, "the key is accepted and may list Instances and volumes"),
            Finding("rights", Verdict.UNKNOWN, "the API does not say whether the key may write",
                    f"Look at the key's policies in IAM: {CONSOLE}iam"),
            Finding("locations", Verdict.OK, ", ".join(self._zones.names)),
            Finding("sizes", Verdict.OK, f"{len(sizes)} sizes can be ordered in {zone}"),
            self._quotas(),
        )  # fmt: skip

    def _quotas(self) -> Finding:
        """Quotas are an organization's; the project says which. Keys of a project alone may see neither."""
        try:
            with readable(write=False):
                project = self._fence.projects.get_project(project_id=self._project_id)
                quotas = self._fence.iam.list_quota(organization_id=project.organization_id, page_size=100).quota
                told = [
                    f"{q.name} {'unlimited' if q.unlimited else q.limit}" for q in quotas if values.concerns_us(q.name)
                ]
                return Finding("quotas", Verdict.OK, ", ".join(told) or "none that concern servers or volumes")
        except ProviderError as error:
            return Finding(
                "quotas", Verdict.UNKNOWN, f"the key may not see them: {error.message}",
                f"Look at the organization's Quotas: {CONSOLE}organization/quotas",
            )  # fmt: skip


@contextlib.contextmanager
def _named(*, location: str, size: str = "") -> Iterator[None]:
    """Missing capacity is told with the place and size that it is missing for; the API's answer names neither."""
    try:
        yield
    except CapacityUnavailable as error:
        error.location, error.size = location, size
        raise


@contextlib.contextmanager
def _attaching() -> Iterator[None]:
    """The refusal of one volume too many; its code is unverified, so its words count."""
    try:
        yield
    except (
        InvalidRequest,
        PreconditionFailed,
    ) as error:
        words = error.message.lower()
        if "too many volumes" in words or "maximum number of volumes" in words:
            raise LimitExceeded(
                error.message, provider_code=error.provider_code, correlation_id=error.correlation_id
            ) from error
        raise

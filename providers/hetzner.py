"""Hetzner Cloud behind the interface, through the official SDK in its fence.

Credentials: `token` (of one project, read and write). Options: those of `providers.options`.
Facts: docs.hetzner.cloud/reference/cloud (sections Servers, Volumes, Actions, Errors) and hcloud 2.27. Nothing here was
run against the real cloud; what could only be guessed is marked "unverified".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from hcloud.actions import BoundAction
from hcloud.firewalls import Firewall
from hcloud.images import Image
from hcloud.locations import Location as CloudLocation
from hcloud.placement_groups import PlacementGroup
from hcloud.server_types import ServerType
from hcloud.servers import Server as CloudServer
from hcloud.ssh_keys import SSHKey
from hcloud.volumes import Volume as CloudVolume

from providers import hetzner_values as values
from providers import idempotent, options, rules
from providers.errors import (
    AuthFailed,
    Busy,
    NameTaken,
    NotFound,
    OperationFailed,
    OutcomeUnknown,
    PreconditionFailed,
    ProviderError,
    Unavailable,
)
from providers.hetzner_fence import Fence, failed_action
from providers.operations import operation, state_of
from providers.ports import (
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

API_URL = "https://api.hetzner.cloud/v1"
CONSOLE = "https://console.hetzner.com/"
IMAGE = "debian-13"
POLL_SECONDS = 2.0
LOCATIONS = (Location("nbg1", "Nuremberg"), Location("fsn1", "Falkenstein"), Location("hel1", "Helsinki"))
"""Those of the SDK's and the description's examples; the API has more."""
SIZE = Size("cx23", cores=2, memory_mb=4000, disk_gb=40)
"""The default: the smallest of the examples."""
USER_DATA_MAX_BYTES = 32 * 1024
"""Servers, create: "limited to 32KiB". Unverified whether bytes or characters are counted: bytes, to be sure."""

VOLUMES = VolumeConstraints(min_gb=10, max_gb=10_240, max_attached_per_server=16)
"""hcloud.json, create_volume_request.size; the limit of attachments: csi-driver `internal/driver/driver.go`."""

_DEADLINE_SECONDS = {"server": 600.0, "volume": 300.0}
"""After which an operation is called overdue. Our own figures: the vendor promises none."""

_ON_ITS_WAY = (ServerState.CREATING, ServerState.STARTING, ServerState.UNKNOWN)
_LISTING_ATTEMPTS = 3


def _with_version(url: str) -> str:
    """The SDK wants the version in its endpoint; a bare address is given the only one there is."""
    return url if urlsplit(url).path.strip("/") else f"{url}/v1"


class HetznerProvider:
    """One project at Hetzner Cloud."""

    def __init__(
        self,
        account_options: Mapping[str, Any],
        credentials: Mapping[str, str],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        (token,) = options.required(credentials, "token")
        self._options = options.read(account_options, api_url=API_URL, image=IMAGE, poll_seconds=POLL_SECONDS)
        self._fence = Fence(
            token=token,
            api_url=_with_version(self._options.api_url),
            timeout_seconds=self._options.request_timeout_seconds,
            clock=clock,
        )
        self._client = self._fence.client
        self._clock = clock

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            locations=LOCATIONS,
            locations_are_all=False,
            sizes=(SIZE,),
            volumes=VOLUMES,
            user_data_max_bytes=USER_DATA_MAX_BYTES,
            unique_names=True,
            device_path_known_before_attach=True,
            default_image=self._options.image,
        )

    # Servers

    def create_server(self, spec: ServerSpec) -> Outcome[Server]:
        rules.check_server(spec, self.capabilities)
        return idempotent.create_once(
            found=self._servers(values.selector(spec.key)),
            differences=lambda server: rules.server_differences(server, spec),
            create=lambda: self._order_server(spec),
            resume=self._resume_server,
        )

    def _order_server(self, spec: ServerSpec) -> Outcome[Server]:
        ssh_keys = [SSHKey(id=values.number(key_id)) for key_id in spec.ssh_key_ids] or [
            self._throwaway_key(spec.key.installation)
        ]
        try:
            with self._fence.translated(write=True, location=spec.location, size=spec.size):
                answer = self._client.servers.create(
                    name=spec.key.cloud_name(),
                    server_type=ServerType(name=spec.size),
                    image=Image(name=spec.image or self._options.image),
                    location=CloudLocation(name=spec.location),
                    labels=spec.key.labels(),
                    user_data=spec.user_data,
                    ssh_keys=ssh_keys,
                    firewalls=[Firewall(id=values.number(firewall_id)) for firewall_id in spec.firewall_ids] or None,
                    placement_group=PlacementGroup(id=values.number(spec.placement_group_id))
                    if spec.placement_group_id
                    else None,
                    start_after_create=True,
                )
                server = values.server(answer.server)
                # A start that fails afterwards leaves a server that is off and billed (autoscaler, pull request 6364).
                actions = [answer.action, *answer.next_actions]
        except NameTaken as taken:
            return self._adopt_server(spec, taken)
        return Outcome(server, self._await(actions, "server", server.id, "running", f"creating server {server.id}"))

    def _adopt_server(self, spec: ServerSpec, taken: NameTaken) -> Outcome[Server]:
        """Names are unique in a project: who has ours is ours, by a lost answer or another worker, or is foreign."""
        with self._fence.translated(write=False):
            bound = self._client.servers.get_by_name(spec.key.cloud_name())
            server = values.server(bound) if bound is not None else None
        if server is None or bound is None or not spec.key.is_on(bound.data_model.labels or {}):
            raise taken
        return idempotent.create_once(
            found=[server],
            differences=lambda server: rules.server_differences(server, spec),
            create=lambda: Outcome(server),
            resume=self._resume_server,
        )

    def _resume_server(self, server: Server) -> Outcome[Server]:
        """A server that exists: settled when it runs; else what is under way; else it stalled, and `poll` says so."""
        if server.state is ServerState.RUNNING:
            return Outcome(server)
        if server.state in (ServerState.STOPPING, ServerState.DELETING, ServerState.LOCKED):
            raise Busy(f"Server {server.id} is {server.raw_state}", resource_id=server.id)
        what = f"starting server {server.id}"
        try:
            actions = self._running_actions("server", server.id)
        except NotFound:
            return Outcome(server, self._await([], "server", server.id, "running", what, blind=True))
        return Outcome(server, self._await(actions, "server", server.id, "running", what))

    def _throwaway_key(self, installation: str) -> SSHKey:
        """The installation's public key, whose private half nobody has: without one, a root password is made."""
        key = ResourceKey(installation, "", "ssh-key")
        with self._fence.translated(write=False):
            existing = self._client.ssh_keys.get_by_name(key.cloud_name())
        if existing is not None:
            return SSHKey(name=key.cloud_name())
        try:
            with self._fence.translated(write=True):
                made = self._client.ssh_keys.create(
                    name=key.cloud_name(), public_key=values.public_key_nobody_holds(), labels=key.labels()
                )
                return SSHKey(name=made.data_model.name)
        except (NameTaken, OutcomeUnknown) as error:
            raise Unavailable(f"The installation's SSH key is being made: {error.message}") from error

    def get_server(self, server_id: str) -> Server:
        with self._fence.translated(write=False):
            return values.server(self._client.servers.get_by_id(values.number(server_id)))

    def list_servers(self, *, installation: str, environment_id: str | None = None) -> list[Server]:
        return self._servers(values.selector_of(installation, environment_id))

    def _servers(self, selector: str) -> list[Server]:
        with self._fence.translated(write=False):
            return [values.server(bound) for bound in _complete(self._client.servers.get_list, selector)]

    def delete_server(self, server_id: str, *, owned_volume_ids: tuple[str, ...] = ()) -> Operation | None:
        """Hetzner's servers own no volumes; what is attached is detached by the deletion itself (Servers, delete)."""
        try:
            with self._fence.translated(write=True):
                action = self._client.servers.delete(CloudServer(id=values.number(server_id)))
        except NotFound:
            return None
        return self._await([action], "server", server_id, "gone", f"deleting server {server_id}")

    # Volumes

    def create_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        rules.check_volume(spec, self.capabilities)
        return idempotent.create_once(
            found=self._volumes(values.selector(spec.key)),
            differences=lambda volume: rules.volume_differences(volume, spec),
            create=lambda: self._order_volume(spec),
            resume=self._resume_volume,
        )

    def _order_volume(self, spec: VolumeSpec) -> Outcome[Volume]:
        """Neither `format` nor `automount`: the node formats, under its guard."""
        try:
            with self._fence.translated(write=True, location=spec.location):
                answer = self._client.volumes.create(
                    size=spec.size_gb,
                    name=spec.key.cloud_name(),
                    labels=spec.key.labels(),  # type: ignore[arg-type]  # a dict; annotated as str in hcloud 2.27
                    location=CloudLocation(name=spec.location),
                )
                volume = values.volume(answer.volume)
                actions = [answer.action, *answer.next_actions]
        except NameTaken as taken:
            return self._adopt_volume(spec, taken)
        return Outcome(volume, self._await(actions, "volume", volume.id, "available", f"creating volume {volume.id}"))

    def _adopt_volume(self, spec: VolumeSpec, taken: NameTaken) -> Outcome[Volume]:
        with self._fence.translated(write=False):
            bound = self._client.volumes.get_by_name(spec.key.cloud_name())
            volume = values.volume(bound) if bound is not None else None
        if volume is None or bound is None or not spec.key.is_on(bound.data_model.labels or {}):
            raise taken
        return idempotent.create_once(
            found=[volume],
            differences=lambda volume: rules.volume_differences(volume, spec),
            create=lambda: Outcome(volume),
            resume=self._resume_volume,
        )

    def _resume_volume(self, volume: Volume) -> Outcome[Volume]:
        if volume.state is not VolumeState.CREATING:
            return Outcome(volume)
        return Outcome(volume, self._await([], "volume", volume.id, "available", f"creating volume {volume.id}"))

    def get_volume(self, volume_id: str) -> Volume:
        with self._fence.translated(write=False):
            return values.volume(self._client.volumes.get_by_id(values.number(volume_id)))

    def list_volumes(self, *, installation: str, environment_id: str | None = None) -> list[Volume]:
        return self._volumes(values.selector_of(installation, environment_id))

    def _volumes(self, selector: str) -> list[Volume]:
        with self._fence.translated(write=False):
            return [values.volume(bound) for bound in _complete(self._client.volumes.get_list, selector)]

    def attach_volume(self, volume_id: str, server_id: str) -> Outcome[Volume]:
        volume = self.get_volume(volume_id)
        if volume.server_id == server_id:
            return Outcome(volume)
        rules.check_attachment(volume, self.get_server(server_id), self.capabilities)
        what, want = f"attaching volume {volume_id} to server {server_id}", f"on {server_id}"
        actions = self._running_actions("volume", volume_id)
        if not actions:
            with self._fence.translated(write=True, attaching=True):
                actions = [
                    self._client.volumes.attach(
                        CloudVolume(id=values.number(volume_id)), CloudServer(id=values.number(server_id))
                    )
                ]
        return Outcome(
            replace(volume, state=VolumeState.ATTACHING, server_id=server_id),
            self._await(actions, "volume", volume_id, want, what),
        )

    def detach_volume(self, volume_id: str) -> Outcome[Volume]:
        volume = self.get_volume(volume_id)
        actions = self._running_actions("volume", volume_id)
        if volume.server_id is None and not actions:
            return Outcome(volume)
        if not actions:
            with self._fence.translated(write=True):
                actions = [self._client.volumes.detach(CloudVolume(id=values.number(volume_id)))]
        elif any(action.data_model.command != "detach_volume" for action in actions):
            raise Busy(f"Volume {volume_id} is in the middle of {actions[0].data_model.command}", resource_id=volume_id)
        return Outcome(volume, self._await(actions, "volume", volume_id, "off", f"detaching volume {volume_id}"))

    def resize_volume(self, volume_id: str, size_gb: int) -> Outcome[Volume]:
        volume = self.get_volume(volume_id)
        # Growing to the size it has is refused by the API as "too small" (csi-driver, issue 614).
        if not rules.needs_growth(volume, size_gb, self.capabilities):
            return Outcome(volume)
        with self._fence.translated(write=True, location=volume.location):
            action = self._client.volumes.resize(CloudVolume(id=values.number(volume_id)), size_gb)
        what = f"growing volume {volume_id} to {size_gb} GB"
        return Outcome(volume, self._await([action], "volume", volume_id, f"size {size_gb}", what))

    def delete_volume(self, volume_id: str) -> Operation | None:
        try:
            volume = self.get_volume(volume_id)
            if volume.server_id is not None:
                raise PreconditionFailed(f"Volume {volume_id} is attached", in_use_by=volume.server_id)
            with self._fence.translated(write=True):
                self._client.volumes.delete(CloudVolume(id=values.number(volume_id)))
        except NotFound:
            pass
        return None

    # Operations

    def poll(self, op: Operation) -> Operation | None:
        state = state_of(op)
        unfinished, forgotten, failure = self._follow(state)
        state = state | {"actions": unfinished, "blind": forgotten or state["blind"]}
        if failure is None and unfinished:
            return self._again(state)
        reached, last, stalled = self._reached(state)
        if reached:
            # Also where the action failed: a lost race that ended in what was wanted is no failure.
            return None
        if failure is not None:
            raise failure
        # Without its actions a server that is off may be about to start: only time tells then.
        if stalled and (not state["blind"] or self._clock() > state["deadline"]):
            raise OperationFailed(f"{state['what']} came to nothing: it is {last}", resource_id=state["id"])
        return self._again(state | {"last": last})

    def _follow(self, state: Mapping[str, Any]) -> tuple[list[int], bool, ProviderError | None]:
        """Which of its actions still run, whether one is forgotten, and the first failure. An action that the API no
        longer knows is no news: the resource itself tells how it ended."""
        unfinished: list[int] = []
        forgotten = False
        for action_id in state["actions"]:
            try:
                with self._fence.translated(write=False):
                    action = self._client.actions.get_by_id(action_id).data_model
            except NotFound:
                forgotten = True
                continue
            if action.status == "running":
                unfinished.append(action_id)
            elif action.status == "error":
                return [], forgotten, failed_action(action.error, state["what"], state["id"])
        return unfinished, forgotten, None

    def _reached(self, state: Mapping[str, Any]) -> tuple[bool, str, bool]:
        """Whether the resource is what is awaited, the cloud's word for what it is, and whether it will never be."""
        want = state["want"]
        try:
            if state["resource"] == "server":
                server = self.get_server(state["id"])
                stalled = want == "running" and server.state not in _ON_ITS_WAY
                return want == server.state, server.raw_state, stalled
            return values.volume_reached(self.get_volume(state["id"]), want)
        except NotFound:
            # What was just made may be listed late; after the settle window it has vanished.
            late = self._clock() < state["began"] + idempotent.SETTLE_WINDOW_SECONDS
            return want == "gone", "gone", want != "gone" and not late

    def _await(
        self, actions: list[BoundAction], resource: str, resource_id: str, want: str, what: str, *, blind: bool = False
    ) -> Operation:
        """What to poll. `blind`: what is under way cannot be told, so that only time shows that nothing comes of it."""
        state = {
            "blind": blind,
            "actions": [action.id for action in actions],
            "resource": resource,
            "id": resource_id,
            "want": want,
            "what": what,
            "began": int(self._clock()),
            "deadline": int(self._clock() + _DEADLINE_SECONDS[resource]),
        }
        return self._again(state)

    def _again(self, state: dict[str, Any]) -> Operation:
        return operation(state, poll_seconds=self._options.poll_seconds, now=self._clock())

    def _running_actions(self, resource: str, resource_id: str) -> list[BoundAction]:
        """What is under way at the resource; a list over all resources was removed (changelog 2025-01-30)."""
        with self._fence.translated(write=False):
            if resource == "server":
                result = self._client.servers.get_actions_list(
                    CloudServer(id=values.number(resource_id)), status=["running"]
                )
            else:
                result = self._client.volumes.get_actions_list(
                    CloudVolume(id=values.number(resource_id)), status=["running"]
                )
            return list(result.actions)

    # Account

    def catalogue(self) -> Catalogue:
        with self._fence.translated(write=False):
            locations = tuple(
                Location(place.data_model.name or "", place.data_model.description or "")
                for place in self._client.locations.get_all()
            )
            sizes = tuple(size for bound in self._client.server_types.get_all() for size in values.sizes(bound))
        return Catalogue(locations, sizes, as_of=datetime.fromtimestamp(self._clock(), UTC))

    def check(self) -> tuple[Finding, ...]:
        try:
            catalogue = self.catalogue()
        except AuthFailed as error:
            return (Finding("credentials", Verdict.FAILED, error.message, error.cure),)
        except ProviderError as error:
            return (Finding("provider", Verdict.FAILED, error.message, error.cure),)
        places = ", ".join(place.name for place in catalogue.locations)
        return (
            Finding("credentials", Verdict.OK, "the token is accepted"),
            Finding("rights", Verdict.UNKNOWN, "the API does not say whether the token may write",
                    f"Look at the project's Security, API tokens: {CONSOLE}"),
            Finding("locations", Verdict.OK, places),
            Finding("sizes", Verdict.OK, f"{len({size.name for size in catalogue.sizes})} sizes can be ordered"),
            Finding("quotas", Verdict.UNKNOWN, "the API does not tell the project's limits",
                    f"Look at the account's Limits: {CONSOLE}"),
        )  # fmt: skip


def _complete(get_list: Callable[..., Any], selector: str) -> list[Any]:
    """Every page of a list. Pages are counted by offset: a record deleted in between moves another one out of sight, so
    a list whose total changed is read anew."""
    for _ in range(_LISTING_ATTEMPTS):
        found: dict[int, Any] = {}
        totals: set[int | None] = set()
        page: int | None = 1
        while page:
            rows, meta = get_list(label_selector=selector, page=page, per_page=50)
            found.update({row.id: row for row in rows})
            pagination = meta.pagination if meta else None
            totals.add(pagination.total_entries if pagination else None)
            page = pagination.next_page if pagination else None
        if len(totals) == 1:
            return list(found.values())
    raise Unavailable("The list kept changing while it was read")

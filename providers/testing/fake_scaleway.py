"""Scaleway's Instance, Block Storage, Marketplace and IAM APIs on loopback: stateful, with the cloud's own limits.

Members and words of the answers are those of the recordings (a test compares them). Limits are written here from the
vendor's documents, not taken from the adapter. Time is counted in polls: a change ends after `polls_per_change` looks
at its resource, or by `advance`.

Faults besides the transport's (see `loopback.Stateful`): `stuck` (the change ordered by this call never ends), `slow`
(`polls`: it takes that many), `boot_fails` (a power-on that ends in stopped again), `volume_error` (a new volume ends
in error), `create_lag` (`polls` for which a new resource is not found), `rival` (another server or volume with the same
tags, older by a minute, appears with this one), `deleted_meanwhile` (a record of the first page goes before the second
is read), `empty_429`.
"""

from __future__ import annotations

import copy
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from providers.testing.loopback import Fault, Request, Response, Stateful

ACCESS_KEY = "SCW" + "F" * 17
SECRET_KEY = "5ec2e700-0000-4000-8000-000000000001"  # noqa: S105 - of the fake
READ_ONLY_KEY = "5ec2e700-0000-4000-8000-000000000002"
PROJECT_ID = "ee7bd9e1-0000-4000-8000-000000000003"
_ORGANIZATION_ID = "ee7bd9e1-0000-4000-8000-000000000004"
_IMAGE_ID = "a25cf4c9-0000-4000-8000-000000000005"
IMAGE_LABELS = ("debian_trixie", "debian_bookworm", "ubuntu_noble")

_GB = 10**9
_VOLUME_BYTES = (5 * _GB, 10_000 * _GB)
_MAX_VOLUMES_PER_SERVER = 16  # with the boot volume
_USER_DATA_BYTES = 128 * 1024
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

_INSTANCE, _BLOCK = r"/instance/v1/zones/([a-z0-9-]+)", r"/block/v1/zones/([a-z0-9-]+)"
_ID = r"([0-9a-f-]{36})"
_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", rf"{_INSTANCE}/servers", "create_server"),
    ("GET", rf"{_INSTANCE}/servers", "list_servers"),
    ("GET", rf"{_INSTANCE}/servers/{_ID}", "get_server"),
    ("DELETE", rf"{_INSTANCE}/servers/{_ID}", "delete_server"),
    ("GET", rf"{_INSTANCE}/servers/{_ID}/user_data", "list_user_data"),
    ("PATCH", rf"{_INSTANCE}/servers/{_ID}/user_data/([^/]+)", "set_user_data"),
    ("POST", rf"{_INSTANCE}/servers/{_ID}/action", "server_action"),
    ("POST", rf"{_INSTANCE}/servers/{_ID}/attach-volume", "attach_volume"),
    ("POST", rf"{_INSTANCE}/servers/{_ID}/detach-volume", "detach_volume"),
    ("GET", rf"{_INSTANCE}/products/servers", "list_server_types"),
    ("POST", rf"{_BLOCK}/volumes", "create_volume"),
    ("GET", rf"{_BLOCK}/volumes", "list_volumes"),
    ("GET", rf"{_BLOCK}/volumes/{_ID}", "get_volume"),
    ("PATCH", rf"{_BLOCK}/volumes/{_ID}", "resize_volume"),
    ("DELETE", rf"{_BLOCK}/volumes/{_ID}", "delete_volume"),
    ("GET", r"/marketplace/v2/local-images", "list_local_images"),
    ("GET", rf"/account/v3/projects/{_ID}", "get_project"),
    ("GET", r"/iam/v1alpha1/quota", "list_quota"),
)
WRITES = frozenset(name for method, _, name in _ROUTES if method != "GET")


class Refused(Exception):
    def __init__(self, status: int, kind: str, message: str, **members: Any) -> None:
        self.response = Response.of(
            status, {"type": kind, "message": message, **members}, X_Request_Id="f4ke0000-0000-4000-8000-000000000000"
        )


@dataclass(slots=True)
class _Change:
    polls: float
    effect: Callable[[], None]


@dataclass(slots=True)
class _Kept:
    """A resource and what is under way at it; changes end one after the other."""

    shown: dict[str, Any]
    changes: list[_Change] = field(default_factory=list)
    hidden_polls: int = 0
    user_data: dict[str, bytes] = field(default_factory=dict)
    booted_with: bytes | None = None


class FakeScaleway(Stateful):
    """One project, any zone."""

    def __init__(self, *, polls_per_change: int = 2) -> None:
        self.polls_per_change = polls_per_change
        self.servers: dict[str, _Kept] = {}
        self.volumes: dict[str, _Kept] = {}
        self.max_servers: float = math.inf
        self._made = 0
        super().__init__()

    @property
    def api_url(self) -> str:
        return self.url

    def advance(self, polls: int = 1) -> None:
        """Let time pass: as if everything had been looked at that often."""
        with self.lock:
            for _ in range(polls):
                for kept in [*self.servers.values(), *self.volumes.values()]:
                    _tick(kept)
                    kept.hidden_polls = max(0, kept.hidden_polls - 1)

    def seed_server(self, name: str, tags: list[str], zone: str, size: str) -> str:
        """A running server that somebody made elsewhere."""
        with self.lock:
            kept = self._new_server({"name": name, "tags": tags, "commercial_type": size}, zone)
            kept.shown.update(state="running", state_detail="booting kernel")
            kept.user_data["cloud-init"] = kept.booted_with = b"#cloud-config"
            return str(kept.shown["id"])

    def seed_volume(self, name: str, tags: list[str], zone: str, size_bytes: int) -> str:
        with self.lock:
            kept = self._new_volume(name, size_bytes, tags, zone)
            kept.changes.clear()
            kept.shown["status"] = "available"
            return str(kept.shown["id"])

    # Stateful

    def call_of(self, request: Request) -> str:
        for method, path, name in _ROUTES:
            if method == request.method and re.fullmatch(path, request.path):
                return str(request.json().get("action", name)) if name == "server_action" else name
        return f"{request.method} {request.path}"

    def serve(self, call: str, request: Request) -> Response:
        try:
            if self.faults.strike(call, frozenset({"empty_429"})):
                # Recorded: no body, no Content-Type, no Retry-After.
                return Response(429, b"", {"x-envoy-ratelimited": "true"})
            self._authorise(request)
            for method, path, name in _ROUTES:
                matched = re.fullmatch(path, request.path)
                if matched and method == request.method:
                    answer: Response = getattr(self, f"_{name}")(request, *matched.groups())
                    return answer
            raise _not_found("path", request.path)
        except Refused as refused:
            return refused.response

    def refusal(self, status: int, code: str) -> Response:
        return Response.of(status, {"type": code, "message": f"refused by order: {code}"})

    def additions(self, response: Response) -> Response:
        """As an API of tomorrow would answer."""
        value = response.json()
        for resource in (value, value.get("server")):
            if isinstance(resource, dict):
                resource["colour"] = "blue"
                resource.update({name: "pondering" for name in ("state", "status") if name in resource})
        return Response.of(response.status, value)

    def _authorise(self, request: Request) -> None:
        key = next((text for name, text in request.headers.items() if name.lower() == "x-auth-token"), "")
        if key not in (SECRET_KEY, READ_ONLY_KEY):
            raise Refused(
                401, "denied_authentication", "authentication is denied", method="api_key", reason="not_found"
            )
        if key == READ_ONLY_KEY and request.method != "GET":
            details = [{"resource": "instance", "action": "write"}]
            raise Refused(403, "permissions_denied", "insufficient permissions", details=details)

    # Servers

    def _create_server(self, request: Request, zone: str) -> Response:
        asked = request.json()
        if asked.get("commercial_type") not in _SIZES:
            raise _invalid("commercial_type", "is not valid")
        if asked.get("image") != _IMAGE_ID:
            raise _invalid("image", "is not a valid image")
        if asked.get("project") != PROJECT_ID:
            raise Refused(403, "permissions_denied", "insufficient permissions", details=[])
        if len(self.servers) >= self.max_servers:
            counted = {"resource": "cp_servers_type_DEV1_S", "quota": self.max_servers, "current": len(self.servers)}
            raise Refused(403, "quotas_exceeded", "quota exceeded for this resource", details=[counted])
        rival = self.faults.strike("create_server", frozenset({"rival"}))
        if rival is not None:
            self._new_server(asked, zone, older_by_s=60)
        kept = self._new_server(asked, zone)
        self._hide_if_ordered("create_server", kept)
        return Response.of(201, {"server": kept.shown})

    def _new_server(self, asked: Mapping[str, Any], zone: str, *, older_by_s: float = 0) -> _Kept:
        server_id = str(uuid.uuid4())
        root = self._new_volume(f"{asked['name']}_sbs_volume_0", 10 * _GB, [], zone)
        root.changes.clear()
        root.shown.update(status="in_use", references=[self._reference(server_id, "attached")])
        asked_root = (asked.get("volumes") or {}).get("0", {})
        if asked_root.get("size"):
            root.shown["size"] = asked_root["size"]
        now = self._now(older_by_s)
        shown = {
            "id": server_id, "name": asked["name"], "arch": "x86_64", "commercial_type": asked["commercial_type"],
            "boot_type": "local", "organization": _ORGANIZATION_ID, "project": PROJECT_ID, "hostname": asked["name"],
            "image": _image(zone), "volumes": {"0": _slot(root.shown["id"], zone)}, "tags": asked.get("tags") or [],
            "state": "stopped", "protected": bool(asked.get("protected")), "state_detail": "", "public_ip": None,
            "public_ips": [], "mac_address": "de:00:00:d1:45:1b", "routed_ip_enabled": True, "ipv6": None,
            "extra_networks": [], "dynamic_ip_required": bool(asked.get("dynamic_ip_required")), "enable_ipv6": False,
            "private_ip": None, "creation_date": now, "modification_date": now, "bootscript": None,
            "security_group": {"id": str(uuid.uuid4()), "name": "Default security group"}, "location": None,
            "maintenances": [], "allowed_actions": ["poweron", "backup"], "placement_group": None, "private_nics": [],
            "zone": zone, "filesystems": [], "end_of_service": False,
        }  # fmt: skip
        self.servers[server_id] = kept = _Kept(shown)
        return kept

    def _list_servers(self, request: Request, zone: str) -> Response:
        """Tags are joined by commas and all of them must be there; a name is a part of the name."""
        tags = set(filter(None, request.one("tags").split(",")))
        name = request.one("name")
        matching = [
            kept.shown
            for kept in self.servers.values()
            if kept.shown["zone"] == zone
            and tags <= set(kept.shown["tags"])
            and name in kept.shown["name"]
            and not _is_hidden(kept)
        ]
        size = min(100, int(request.one("per_page", "50")))
        rows = self._page(request, "list_servers", matching, size, self.servers)
        return Response.of(200, {"servers": rows}, X_Total_Count=str(len(matching)))

    def _get_server(self, request: Request, zone: str, server_id: str) -> Response:
        kept = self._server(zone, server_id)
        _tick(kept)
        if server_id not in self.servers:
            raise _not_found("instance_server", server_id)
        return Response.of(200, {"server": kept.shown})

    def _delete_server(self, request: Request, zone: str, server_id: str) -> Response:
        kept = self._server(zone, server_id)
        self._must_not_be_protected(kept)
        if kept.shown["state"] != "stopped":
            raise Refused(400, "invalid_request_error", "server should be stopped")
        self._remove_server(server_id)
        return Response(204)

    def _list_user_data(self, request: Request, zone: str, server_id: str) -> Response:
        return Response.of(200, {"user_data": sorted(self._server(zone, server_id).user_data)})

    def _set_user_data(self, request: Request, zone: str, server_id: str, key: str) -> Response:
        kept = self._server(zone, server_id)
        if len(request.body) > _USER_DATA_BYTES:
            raise _invalid("content", "is too long")
        kept.user_data[key] = request.body
        return Response(204)

    def _server_action(self, request: Request, zone: str, server_id: str) -> Response:
        kept, action = self._server(zone, server_id), request.json().get("action")
        if action == "poweron":
            self._power_on(kept)
        elif action == "terminate":
            self._terminate(kept)
        else:
            raise _invalid("action", "is not valid")
        task = {
            "id": str(uuid.uuid4()), "description": f"server_{action}", "status": "pending",
            "href_from": f"/servers/{server_id}/action", "href_result": f"/servers/{server_id}",
            "started_at": self._now(), "terminated_at": None, "progress": 0, "zone": zone,
        }  # fmt: skip
        return Response.of(202, {"task": task})

    def _power_on(self, kept: _Kept) -> None:
        shown = kept.shown
        if shown["state"] != "stopped":
            raise Refused(400, "invalid_request_error", "server should be stopped")
        shown.update(state="starting", state_detail="allocating node", allowed_actions=["stop_in_place", "backup"])
        fails = self.faults.strike("poweron", frozenset({"boot_fails"}))

        def booted() -> None:
            if fails is not None:
                shown.update(state="stopped", state_detail="", allowed_actions=["poweron", "backup"])
                return
            if kept.booted_with is None:
                kept.booted_with = kept.user_data.get("cloud-init", b"")
            shown.update(
                state="running", state_detail="booting kernel",
                allowed_actions=["poweroff", "terminate", "reboot", "stop_in_place", "backup"],
            )  # fmt: skip

        def addressed() -> None:
            # A dynamic address comes after the start, not with the create (F25).
            if shown["dynamic_ip_required"] and shown["state"] == "running":
                address = f"198.51.100.{len(self.servers) % 250 + 1}"
                shown["public_ips"] = [_address(address)]
                shown["public_ip"] = _address(address)

        self._change(kept, "poweron", booted)
        kept.changes.append(_Change(1, addressed))

    def _terminate(self, kept: _Kept) -> None:
        self._must_not_be_protected(kept)
        if kept.shown["state"] != "running":
            raise Refused(400, "invalid_request_error", "server should be running")
        volume_ids = [slot["id"] for slot in kept.shown["volumes"].values()]
        # Recorded: the volumes are out of sight from the first poll on.
        kept.shown.update(state="stopping", state_detail="terminating", volumes={}, allowed_actions=["backup"])
        kept.changes.clear()
        self._change(kept, "terminate", lambda: self._remove_server(kept.shown["id"], volume_ids))

    def _remove_server(self, server_id: str, volume_ids: Iterable[str] = ()) -> None:
        """The root volume stays, in use for a while and then available, billed until somebody deletes it."""
        kept = self.servers.pop(server_id)
        slots = [slot["id"] for slot in kept.shown["volumes"].values()]
        for volume_id in {*slots, *volume_ids}:
            volume = self.volumes.get(volume_id)
            if volume is not None:
                self._change(volume, "release", self._freeing(volume))

    def _must_not_be_protected(self, kept: _Kept) -> None:
        if kept.shown["protected"]:
            raise Refused(400, "precondition_failed", "resource is protected", precondition="protected_resource")

    # Attachments

    def _attach_volume(self, request: Request, zone: str, server_id: str) -> Response:
        server = self._server(zone, server_id)
        volume = self._volume_of(zone, str(request.json().get("volume_id")))
        if volume.shown["references"]:
            raise Refused(400, "precondition_failed", "volume is already attached", precondition="resource_not_usable")
        if volume.shown["status"] != "available":
            raise Refused(409, "transient_state", "volume is in a transient state")
        if len(server.shown["volumes"]) >= _MAX_VOLUMES_PER_SERVER:
            raise Refused(400, "invalid_request_error", "too many volumes attached to the server")
        slot = next(str(n) for n in range(1, 64) if str(n) not in server.shown["volumes"])
        server.shown["volumes"][slot] = _slot(volume.shown["id"], zone)
        reference = self._reference(server_id, "attaching")
        volume.shown.update(status="in_use", references=[reference])
        self._change(volume, "attach_volume", lambda: reference.update(status="attached"))
        return Response.of(200, {"server": server.shown})

    def _detach_volume(self, request: Request, zone: str, server_id: str) -> Response:
        """Gone from the server at once; the volume itself is "detaching" for many polls more."""
        server = self._server(zone, server_id)
        volume_id = str(request.json().get("volume_id"))
        slot = next((s for s, entry in server.shown["volumes"].items() if entry["id"] == volume_id), None)
        if slot is None:
            message = "volume is not attached to this server"
            raise Refused(400, "invalid_arguments", message, details=[{"argument_name": "volume_id",
                          "reason": "constraint", "help_message": message}])  # fmt: skip
        del server.shown["volumes"][slot]
        volume = self._volume_of(zone, volume_id)
        for reference in volume.shown["references"]:
            reference["status"] = "detaching"
        volume.changes.clear()
        self._change(volume, "detach_volume", self._freeing(volume))
        return Response.of(200, {"server": server.shown})

    def _freeing(self, volume: _Kept) -> Callable[[], None]:
        return lambda: volume.shown.update(status="available", references=[], last_detached_at=self._now())

    # Volumes

    def _create_volume(self, request: Request, zone: str) -> Response:
        asked = request.json()
        size = (asked.get("from_empty") or {}).get("size", 0)
        if not _VOLUME_BYTES[0] <= size <= _VOLUME_BYTES[1]:
            raise _invalid("size", f"must be between {_VOLUME_BYTES[0]} and {_VOLUME_BYTES[1]}")
        if asked.get("perf_iops") not in (5000, 15000):
            raise _invalid("perf_iops", "must be 5000 or 15000")
        if self.faults.strike("create_volume", frozenset({"rival"})):
            self._new_volume(asked["name"], size, asked.get("tags") or [], zone, older_by_s=60)
        kept = self._new_volume(asked["name"], size, asked.get("tags") or [], zone)
        answer = copy.deepcopy(kept.shown)
        self._hide_if_ordered("create_volume", kept)
        return Response.of(200, answer)

    def _new_volume(self, name: str, size: int, tags: list[str], zone: str, *, older_by_s: float = 0) -> _Kept:
        now = self._now(older_by_s)
        shown: dict[str, Any] = {
            "id": str(uuid.uuid4()), "name": name, "type": "sbs_5k", "size": size, "project_id": PROJECT_ID,
            "created_at": now, "updated_at": now, "references": [], "parent_snapshot_id": None, "status": "creating",
            "tags": tags, "specs": {"perf_iops": 5000, "class": "sbs"}, "last_detached_at": None, "zone": zone,
        }  # fmt: skip
        self.volumes[shown["id"]] = kept = _Kept(shown)
        ends_in = "error" if self.faults.strike("create_volume", frozenset({"volume_error"})) else "available"
        self._change(kept, "create_volume", lambda: shown.update(status=ends_in))
        return kept

    def _list_volumes(self, request: Request, zone: str) -> Response:
        """One tag in common is enough here, unlike with servers."""
        tags, name = set(request.query.get("tags", [])), request.one("name")
        matching = [
            kept.shown
            for kept in self.volumes.values()
            if kept.shown["zone"] == zone
            and (not tags or tags & set(kept.shown["tags"]))
            and name in kept.shown["name"]
            and not _is_hidden(kept)
        ]
        size = min(100, int(request.one("page_size", "50")))
        rows = self._page(request, "list_volumes", matching, size, self.volumes)
        return Response.of(200, {"volumes": rows, "total_count": len(matching)})

    def _get_volume(self, request: Request, zone: str, volume_id: str) -> Response:
        kept = self._volume_of(zone, volume_id)
        answer = Response.of(200, kept.shown)
        _tick(kept)
        return answer

    def _resize_volume(self, request: Request, zone: str, volume_id: str) -> Response:
        kept, size = self._volume_of(zone, volume_id), request.json().get("size")
        if size is None:
            return Response.of(200, kept.shown)
        if size < kept.shown["size"]:
            raise _invalid("size", "must be greater than the current size")
        if size > _VOLUME_BYTES[1]:
            raise _invalid("size", "is too large")
        was = kept.shown["status"]
        if was not in ("available", "in_use"):
            raise Refused(409, "transient_state", "volume is in a transient state")
        kept.shown["status"] = "updating"
        self._change(kept, "resize_volume", lambda: kept.shown.update(status=was, size=size))
        return Response.of(200, kept.shown)

    def _delete_volume(self, request: Request, zone: str, volume_id: str) -> Response:
        kept = self._volume_of(zone, volume_id)
        if kept.shown["references"]:
            raise Refused(412, "precondition_failed", "volume is in use", precondition="resource_still_in_use")
        if kept.shown["status"] not in ("available", "error"):
            raise Refused(409, "transient_state", "volume is in a transient state")
        del self.volumes[volume_id]
        return Response(204)

    # Everything else

    def _list_server_types(self, request: Request, zone: str) -> Response:
        page, size = int(request.one("page", "1")), int(request.one("per_page", "50"))
        names = sorted(_SIZES)[(page - 1) * size : page * size]
        return Response.of(200, {"servers": {name: _SIZES[name] for name in names}}, X_Total_Count=str(len(_SIZES)))

    def _list_local_images(self, request: Request) -> Response:
        label, zone, kind = request.one("image_label"), request.one("zone"), request.one("type")
        found = [
            {
                "id": _IMAGE_ID, "arch": "x86_64", "zone": zone, "compatible_commercial_types": sorted(_SIZES),
                "label": label, "type": kind,
            }
        ] if label in IMAGE_LABELS else []  # fmt: skip
        return Response.of(200, {"local_images": found, "total_count": len(found)})

    def _get_project(self, request: Request, project_id: str) -> Response:
        now = self._now()
        return Response.of(
            200,
            {
                "id": project_id, "name": "default", "organization_id": _ORGANIZATION_ID, "description": "",
                "created_at": now, "updated_at": now, "qualification": None,
            },
        )  # fmt: skip

    def _list_quota(self, request: Request) -> Response:
        limits = [{"global": True, "region": None, "zone": None, "limit": 10, "unlimited": False}]
        quota = {
            "name": "cp_servers_type_DEV1_S", "limit": 10, "unlimited": False, "pretty_name": "DEV1-S", "unit": "",
            "description": "", "locality_type": "global", "limits": limits,
        }  # fmt: skip
        return Response.of(200, {"quota": [quota], "total_count": 1})

    def _server(self, zone: str, server_id: str) -> _Kept:
        kept = self.servers.get(server_id)
        if kept is None or kept.shown["zone"] != zone or _is_hidden(kept):
            raise _not_found("instance_server", server_id)
        return kept

    def _volume_of(self, zone: str, volume_id: str) -> _Kept:
        kept = self.volumes.get(volume_id)
        if kept is None or kept.shown["zone"] != zone or _is_hidden(kept):
            raise _not_found("volume", volume_id)
        return kept

    def _change(self, kept: _Kept, call: str, effect: Callable[[], None]) -> None:
        fault: Fault | None = self.faults.strike(call, frozenset({"stuck", "slow"}))
        polls: float = self.polls_per_change
        if fault is not None:
            polls = math.inf if fault.kind == "stuck" else fault.arguments["polls"]
        kept.changes.append(_Change(polls, effect))

    def _page(
        self, request: Request, call: str, matching: list[dict[str, Any]], size: int, kept: dict[str, _Kept]
    ) -> list[dict[str, Any]]:
        page = int(request.one("page", "1"))
        rows = matching[(page - 1) * size : page * size]
        if page == 1 and len(matching) > size and self.faults.strike(call, frozenset({"deleted_meanwhile"})):
            del kept[rows[0]["id"]]
        return rows

    def _hide_if_ordered(self, call: str, kept: _Kept) -> None:
        lag = self.faults.strike(call, frozenset({"create_lag"}))
        if lag is not None:
            kept.hidden_polls = lag.arguments["polls"]

    def _reference(self, server_id: str, status: str) -> dict[str, Any]:
        return {
            "id": str(uuid.uuid4()), "product_resource_type": "instance_server", "product_resource_id": server_id,
            "created_at": self._now(), "type": "exclusive", "status": status,
        }  # fmt: skip

    def _now(self, older_by_s: float = 0) -> str:
        """A clock of its own: nothing made here is as old as something made before, unless ordered."""
        self._made += 1
        return (_EPOCH + timedelta(seconds=self._made - older_by_s)).isoformat()


def _tick(kept: _Kept) -> None:
    if not kept.changes:
        return
    kept.changes[0].polls -= 1
    if kept.changes[0].polls <= 0:
        kept.changes.pop(0).effect()


def _is_hidden(kept: _Kept) -> bool:
    if kept.hidden_polls <= 0:
        return False
    kept.hidden_polls -= 1
    return True


def _not_found(resource: str, resource_id: str) -> Refused:
    return Refused(404, "not_found", "resource is not found", resource=resource, resource_id=resource_id)


def _invalid(name: str, message: str) -> Refused:
    details = [{"argument_name": name, "reason": "constraint", "help_message": f"{name} {message}"}]
    return Refused(400, "invalid_arguments", "invalid argument(s)", details=details)


def _slot(volume_id: str, zone: str) -> dict[str, Any]:
    return {"boot": False, "volume_type": "sbs_volume", "id": volume_id, "state": "available", "zone": zone}


def _address(address: str) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()), "address": address, "dynamic": True, "gateway": "62.210.0.1", "netmask": "32",
        "family": "inet", "provisioning_mode": "dhcp", "tags": [], "state": "attached", "ipam_id": str(uuid.uuid4()),
    }  # fmt: skip


def _image(zone: str) -> dict[str, Any]:
    return {
        "id": _IMAGE_ID, "name": "Debian Trixie", "organization": _ORGANIZATION_ID, "project": _ORGANIZATION_ID,
        "root_volume": {"volume_type": "sbs_snapshot", "id": str(uuid.uuid4()), "size": 0, "name": ""},
        "extra_volumes": {}, "public": True, "arch": "x86_64", "creation_date": _EPOCH.isoformat(),
        "modification_date": _EPOCH.isoformat(), "default_bootscript": None, "from_server": "", "state": "available",
        "tags": [], "zone": zone,
    }  # fmt: skip


def _described_size(cores: int, memory_gb: int, price: float) -> dict[str, Any]:
    return {
        "alt_names": [], "arch": "x86_64", "ncpus": cores, "ram": memory_gb * 1024**3, "gpu": 0, "gpu_info": None,
        "mig_profile": None, "volumes_constraint": {"min_size": 0, "max_size": 20 * _GB},
        "per_volume_constraint": {"l_ssd": {"min_size": _GB, "max_size": 800 * _GB}}, "scratch_storage_max_size": None,
        "monthly_price": price, "hourly_price": price / 730,
        "capabilities": {"boot_types": ["local", "rescue"], "placement_groups": True, "block_storage": True,
                         "hot_snapshots_local_volume": True, "private_network": 8, "max_file_systems": 0},
        "network": {"ipv6_support": True, "sum_internal_bandwidth": 200000000, "sum_internet_bandwidth": 200000000,
                    "interfaces": [{"internal_bandwidth": 200000000, "internet_bandwidth": 200000000}]},
        "block_bandwidth": 104857600, "end_of_service": False,
    }  # fmt: skip


_SIZES = {"DEV1-S": _described_size(2, 2, 9.9864), "DEV1-M": _described_size(3, 4, 17.7)}

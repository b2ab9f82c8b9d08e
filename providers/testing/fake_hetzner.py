"""Hetzner Cloud's API on loopback: stateful, with the cloud's own limits, every answer checked against its description.

Limits and rules are written here from the vendor's documents, not taken from the adapter. Time is counted in polls: an
action ends after `polls_per_action` looks at it, or by `advance`.

Faults besides the transport's (see `loopback.Stateful`), the first three ordered for an action's command:
`action_error` (`code`, `message`, and `done`: it took effect all the same), `action_stuck` (never ends),
`action_forgotten` (404, while it goes on unseen); `create_lag` (`polls` for which a new resource is not found),
`deleted_meanwhile` (a record of the first page goes before the second is read).
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from providers.testing.loopback import Request, Response, Stateful
from providers.testing.openapi import Description

TOKEN = "t" * 64
READ_ONLY_TOKEN = "r" * 64

DIFFERENCES: Mapping[str, list[str]] = {
    "server": ["datacenter"],
}
"""Where the description and today's API differ. `server.datacenter` is required by the file and gone from the API
(hcloud-python 2.23 dropped it for that reason). `server_type.locations[]` has `available` and `recommended` besides,
which the SDK requires and the file does not know; more members are allowed by it."""

_MAX_VOLUMES_PER_SERVER = 16
_VOLUME_GB = (10, 10_240)
_USER_DATA_BYTES = 32 * 1024
_REQUESTS_PER_HOUR = 3600
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]{0,61}[a-zA-Z0-9])?")
_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("POST", r"/v1/servers", "create_server"),
    ("GET", r"/v1/servers", "list_servers"),
    ("GET", r"/v1/servers/(\d+)", "get_server"),
    ("DELETE", r"/v1/servers/(\d+)", "delete_server"),
    ("GET", r"/v1/servers/(\d+)/actions", "list_server_actions"),
    ("POST", r"/v1/volumes", "create_volume"),
    ("GET", r"/v1/volumes", "list_volumes"),
    ("GET", r"/v1/volumes/(\d+)", "get_volume"),
    ("DELETE", r"/v1/volumes/(\d+)", "delete_volume"),
    ("GET", r"/v1/volumes/(\d+)/actions", "list_volume_actions"),
    ("POST", r"/v1/volumes/(\d+)/actions/attach", "attach_volume"),
    ("POST", r"/v1/volumes/(\d+)/actions/detach", "detach_volume"),
    ("POST", r"/v1/volumes/(\d+)/actions/resize", "resize_volume"),
    ("GET", r"/v1/actions/(\d+)", "get_action"),
    ("GET", r"/v1/ssh_keys", "list_ssh_keys"),
    ("POST", r"/v1/ssh_keys", "create_ssh_key"),
    ("GET", r"/v1/locations", "list_locations"),
    ("GET", r"/v1/server_types", "list_server_types"),
)
WRITES = frozenset(name for method, _, name in _ROUTES if method != "GET")


class Refused(Exception):
    def __init__(self, status: int, code: str, message: str, details: dict[str, Any] | None = None) -> None:
        self.response = Response.of(
            status, {"error": {"code": code, "message": message, "details": details}}, X_Correlation_Id="f4ke"
        )


@dataclass(slots=True)
class _Action:
    shown: dict[str, Any]
    polls: float
    effect: Callable[[], None]
    fault: dict[str, Any] | None = None
    forgotten: bool = False


class FakeHetzner(Stateful):
    """One project. `description` may be None where the vendor's file is absent: then answers are not checked."""

    def __init__(self, description: Path | None = None, *, polls_per_action: int = 2) -> None:
        self.polls_per_action = polls_per_action
        self.servers: dict[int, dict[str, Any]] = {}
        self.volumes: dict[int, dict[str, Any]] = {}
        self.ssh_keys: dict[int, dict[str, Any]] = {}
        self.user_data: dict[int, str] = {}
        self.broken_answers: list[str] = []
        self.max_servers: float = math.inf
        self._actions: dict[int, _Action] = {}
        self._hidden: dict[int, int] = {}
        self._budget: float = _REQUESTS_PER_HOUR
        self._spent_at, self._moved_s = time.monotonic(), 0.0
        self._last_id = 1000
        self._description = _described_by(description) if description is not None else None
        super().__init__()

    @property
    def api_url(self) -> str:
        return f"{self.url}/v1"

    def advance(self, polls: int = 1) -> None:
        """Let time pass: as if everything had been looked at that often."""
        with self.lock:
            for _ in range(polls):
                for action in list(self._actions.values()):
                    self._tick(action)
                self._hidden = {id_: left - 1 for id_, left in self._hidden.items() if left > 1}

    def seed_server(self, name: str, labels: dict[str, str], location: str, size: str) -> int:
        """A running server that somebody made elsewhere."""
        with self.lock:
            asked = {"name": name, "labels": labels, "location": location, "server_type": size}
            server = self._new_server(asked)
            server.update(status="running", locked=False)
            return int(server["id"])

    def seed_volume(self, name: str, labels: dict[str, str], location: str, size_gb: int) -> int:
        with self.lock:
            volume = self._new_volume({"name": name, "labels": labels, "location": location, "size": size_gb})
            volume["status"] = "available"
            return int(volume["id"])

    def move_clock(self, seconds: float) -> None:
        """As if so much time had passed for the limit of requests per hour."""
        with self.lock:
            self._moved_s += seconds

    # Stateful

    def call_of(self, request: Request) -> str:
        for method, path, name in _ROUTES:
            if method == request.method and re.fullmatch(path, request.path):
                return name
        return f"{request.method} {request.path}"

    def serve(self, call: str, request: Request) -> Response:
        budget = self._spend()
        response = self._served(call, request) if budget is None else budget
        remaining, reset = self._budget, time.time() + (_REQUESTS_PER_HOUR - self._budget)
        told = {"RateLimit-Limit": str(_REQUESTS_PER_HOUR), "RateLimit-Remaining": str(int(remaining))}
        headers = {**told, "RateLimit-Reset": str(int(reset)), **response.headers}
        return Response(response.status, response.body, headers)

    def _spend(self) -> Response | None:
        """One request of the project's budget, which refills by one each second; the refusal when it is spent."""
        now = time.monotonic() + self._moved_s
        self._budget = min(_REQUESTS_PER_HOUR, self._budget + now - self._spent_at)
        self._spent_at = now
        if self._budget < 1:
            return self.refusal(429, "rate_limit_exceeded")
        self._budget -= 1
        return None

    def _served(self, call: str, request: Request) -> Response:
        try:
            self._authorise(request)
            operation = getattr(self, f"_{call}", None)
            if operation is None:
                raise Refused(404, "not_found", f"{call} does not exist")
            numbers = [int(text) for text in re.findall(r"/(\d+)", request.path)]
            response: Response = operation(request, *numbers)
        except Refused as refused:
            response = refused.response
        self._check(request, response)
        return response

    def refusal(self, status: int, code: str) -> Response:
        headers = {"RateLimit_Limit": "3600", "RateLimit_Remaining": "0"}
        if code == "rate_limit_exceeded":
            reset = datetime.now(UTC) + timedelta(seconds=30)
            headers["RateLimit_Reset"] = str(int(reset.timestamp()))
        body = {"error": {"code": code, "message": f"refused by order: {code}", "details": None}}
        return Response.of(status, body, **headers)

    def additions(self, response: Response) -> Response:
        """As an API of tomorrow would answer."""
        value = response.json()
        for resource in [value.get(name) for name in ("server", "volume", "action")]:
            if isinstance(resource, dict):
                resource["colour"] = "blue"
                if "status" in resource and "command" not in resource:
                    resource["status"] = "pondering"
        return Response.of(response.status, value)

    def _check(self, request: Request, response: Response) -> None:
        if self._description is None:
            return
        path = request.path.removeprefix("/v1")
        faults = self._description.faults(request.method, path, response.status, response.body)
        self.broken_answers += [f"{request.method} {path} {response.status}: {fault}" for fault in faults]

    def _authorise(self, request: Request) -> None:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in (TOKEN, READ_ONLY_TOKEN):
            raise Refused(401, "unauthorized", "unable to authenticate")
        if token == READ_ONLY_TOKEN and request.method != "GET":
            raise Refused(401, "token_readonly", "token is only allowed to perform GET requests")

    # Servers

    def _create_server(self, request: Request) -> Response:
        asked = request.json()
        self._check_server(asked)
        server = self._new_server(asked)
        server_id = server["id"]
        self.user_data[server_id] = asked.get("user_data") or ""
        self._hide_if_ordered("create_server", server_id)

        def created() -> None:
            if not server["locked"]:
                return
            server["status"], server["locked"] = "off", False
            # Addresses come late: the answer to the create has none (F25).
            server["public_net"]["ipv4"] = {"id": server_id, "ip": f"192.0.2.{server_id % 250 + 1}", "blocked": False,
                                            "dns_ptr": "static.example.com"}  # fmt: skip

        def started() -> None:
            created()
            server["status"] = "running"

        first = self._act("create_server", "server", server_id, created)
        following = []
        if asked.get("start_after_create", True):
            start = self._act("start_server", "server", server_id, started)
            self._actions[start["id"]].polls += self.polls_per_action
            following.append(start)
        password = None if asked.get("ssh_keys") else "root-password-of-the-fake"
        return Response.of(
            201, {"server": server, "action": first, "next_actions": following, "root_password": password}
        )

    def _new_server(self, asked: dict[str, Any]) -> dict[str, Any]:
        server_id = self._next_id()
        location, size = _location(asked["location"]), _server_type(str(asked["server_type"]))
        server = {
            "id": server_id, "name": asked["name"], "status": "initializing", "created": self._now(),
            "public_net": {"ipv4": None, "ipv6": None, "floating_ips": [], "firewalls": []}, "private_net": [],
            "server_type": size, "location": location, "image": None, "iso": None, "rescue_enabled": False,
            "locked": True, "backup_window": None, "outgoing_traffic": 0, "ingoing_traffic": 0,
            "included_traffic": 20 * 1024**4, "protection": {"delete": False, "rebuild": False},
            "labels": asked.get("labels") or {}, "volumes": [], "load_balancers": [], "primary_disk_size": size["disk"],
            "placement_group": None,
        }  # fmt: skip
        self.servers[server_id] = server
        return server

    def _check_server(self, asked: dict[str, Any]) -> None:
        name = asked.get("name", "")
        if not _NAME.fullmatch(name):
            raise _invalid("name", "is not a valid hostname")
        if len((asked.get("user_data") or "").encode()) > _USER_DATA_BYTES:
            raise _invalid("user_data", "must be 32KiB or less")
        if any(server["name"] == name for server in self.servers.values()):
            raise Refused(409, "uniqueness_error", "server name is already used", {"fields": [{"name": "name"}]})
        if not _known(asked.get("location"), _LOCATIONS):
            raise _invalid("location", "unknown location")
        if not _known(str(asked.get("server_type")), _SERVER_TYPES):
            raise _invalid("server_type", "unknown server type")
        for key in asked.get("ssh_keys") or []:
            if not any(key in (known["id"], known["name"], str(known["id"])) for known in self.ssh_keys.values()):
                raise Refused(404, "not_found", f"SSH key {key} not found")
        if len(self.servers) >= self.max_servers:
            raise Refused(403, "resource_limit_exceeded", "server limit exceeded", {"limits": [{"name": "servers"}]})

    def _list_servers(self, request: Request) -> Response:
        return self._page(request, "servers", self.servers)

    def _get_server(self, request: Request, server_id: int) -> Response:
        self._tick_unseen("server", server_id)
        return Response.of(200, {"server": self._find(self.servers, server_id)})

    def _delete_server(self, request: Request, server_id: int) -> Response:
        server = self._find(self.servers, server_id)
        if server["protection"]["delete"]:
            raise Refused(423, "protected", "server deletion is protected")
        if server["status"] == "deleting":
            raise Refused(423, "locked", "server is locked")
        server["status"] = "deleting"

        def deleted() -> None:
            self.servers.pop(server_id, None)
            for volume in self.volumes.values():
                if volume["server"] == server_id:
                    volume["server"] = None

        return Response.of(200, {"action": self._act("delete_server", "server", server_id, deleted)})

    # Volumes

    def _create_volume(self, request: Request) -> Response:
        asked = request.json()
        size = asked.get("size", 0)
        if not _VOLUME_GB[0] <= size <= _VOLUME_GB[1]:
            raise _invalid("size", f"must be between {_VOLUME_GB[0]} and {_VOLUME_GB[1]}")
        if any(volume["name"] == asked["name"] for volume in self.volumes.values()):
            raise Refused(409, "uniqueness_error", "volume name is already used", {"fields": [{"name": "name"}]})
        if not _known(asked.get("location"), _LOCATIONS):
            raise _invalid("location", "unknown location")
        volume = self._new_volume(asked)
        volume_id = volume["id"]
        self._hide_if_ordered("create_volume", volume_id)

        def created() -> None:
            volume["status"] = "available"

        action = self._act("create_volume", "volume", volume_id, created)
        return Response.of(201, {"volume": volume, "action": action, "next_actions": []})

    def _new_volume(self, asked: dict[str, Any]) -> dict[str, Any]:
        volume_id = self._next_id()
        volume = {
            "id": volume_id, "name": asked["name"], "size": asked["size"], "server": None, "status": "creating",
            "location": _location(asked["location"]), "labels": asked.get("labels") or {}, "created": self._now(),
            "format": asked.get("format"), "protection": {"delete": False},
            "linux_device": f"/dev/disk/by-id/scsi-0HC_Volume_{volume_id}",
        }  # fmt: skip
        self.volumes[volume_id] = volume
        return volume

    def _list_volumes(self, request: Request) -> Response:
        return self._page(request, "volumes", self.volumes)

    def _get_volume(self, request: Request, volume_id: int) -> Response:
        self._tick_unseen("volume", volume_id)
        return Response.of(200, {"volume": self._find(self.volumes, volume_id)})

    def _delete_volume(self, request: Request, volume_id: int) -> Response:
        volume = self._find(self.volumes, volume_id)
        if volume["protection"]["delete"]:
            raise Refused(423, "protected", "volume deletion is protected")
        if volume["server"] is not None:
            raise Refused(422, "invalid_input", "volume is still attached to a server")
        self._must_be_idle(volume_id)
        del self.volumes[volume_id]
        return Response(204)

    def _attach_volume(self, request: Request, volume_id: int) -> Response:
        volume = self._find(self.volumes, volume_id)
        server = self._find(self.servers, request.json()["server"])
        if volume["server"] is not None:
            raise Refused(422, "volume_already_attached", "volume is already attached to a server")
        if volume["location"]["name"] != server["location"]["name"]:
            raise _invalid("server", "volume and server must be in the same location")
        if server["locked"]:
            raise Refused(423, "locked", "server is locked")
        self._must_be_idle(volume_id)
        if len(server["volumes"]) >= _MAX_VOLUMES_PER_SERVER:
            raise Refused(422, "limit_exceeded_error", "no more volumes can be attached to this server")

        def attached() -> None:
            if server["id"] in self.servers:
                volume["server"] = server["id"]
                server["volumes"].append(volume_id)

        return Response.of(201, {"action": self._act("attach_volume", "volume", volume_id, attached)})

    def _detach_volume(self, request: Request, volume_id: int) -> Response:
        volume = self._find(self.volumes, volume_id)
        if volume["server"] is None:
            raise Refused(422, "invalid_input", "volume is not attached to a server")
        self._must_be_idle(volume_id)

        def detached() -> None:
            server = self.servers.get(volume["server"])
            if server is not None:
                server["volumes"].remove(volume_id)
            volume["server"] = None

        return Response.of(201, {"action": self._act("detach_volume", "volume", volume_id, detached)})

    def _resize_volume(self, request: Request, volume_id: int) -> Response:
        volume = self._find(self.volumes, volume_id)
        size = request.json().get("size", 0)
        if size <= volume["size"]:
            raise Refused(422, "invalid_input", "volume size is too small")
        if size > _VOLUME_GB[1]:
            raise _invalid("size", "too large")
        self._must_be_idle(volume_id)

        def resized() -> None:
            volume["size"] = size

        return Response.of(201, {"action": self._act("resize_volume", "volume", volume_id, resized)})

    # Actions

    def _get_action(self, request: Request, action_id: int) -> Response:
        action = self._actions.get(action_id)
        if action is None:
            raise Refused(404, "not_found", f"action with ID {action_id} not found")
        self._tick(action)
        if action.forgotten:
            raise Refused(404, "not_found", f"action with ID {action_id} not found")
        return Response.of(200, {"action": action.shown})

    def _list_server_actions(self, request: Request, server_id: int) -> Response:
        self._find(self.servers, server_id)
        return self._actions_of(request, "server", server_id)

    def _list_volume_actions(self, request: Request, volume_id: int) -> Response:
        self._find(self.volumes, volume_id)
        return self._actions_of(request, "volume", volume_id)

    def _actions_of(self, request: Request, kind: str, resource_id: int) -> Response:
        statuses = request.query.get("status", [])
        listed = {
            id_: action.shown
            for id_, action in self._actions.items()
            if not action.forgotten
            and {"id": resource_id, "type": kind} in action.shown["resources"]
            and (not statuses or action.shown["status"] in statuses)
        }
        return self._page(request, "actions", listed)

    def _act(self, command: str, kind: str, resource_id: int, effect: Callable[[], None]) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "id": self._next_id(), "command": command, "status": "running", "progress": 0, "started": self._now(),
            "finished": None, "resources": [{"id": resource_id, "type": kind}], "error": None,
        }  # fmt: skip
        action = _Action(shown, self.polls_per_action, effect)
        ordered = self.faults.strike(command, frozenset({"action_error", "action_stuck", "action_forgotten"}))
        if ordered is not None:
            action.forgotten = ordered.kind == "action_forgotten"
            if ordered.kind == "action_stuck":
                action.polls = math.inf
            if ordered.kind == "action_error":
                action.fault = {"code": "action_failed", "message": "Action failed", **ordered.arguments}
        self._actions[shown["id"]] = action
        return shown

    def _tick(self, action: _Action) -> None:
        if action.shown["status"] != "running":
            return
        action.polls -= 1
        if action.polls > 0:
            return
        fault = action.fault
        if fault is None or fault.get("done"):
            action.effect()
        status = "success" if fault is None else "error"
        error = None if fault is None else {"code": fault["code"], "message": fault["message"]}
        action.shown.update(status=status, progress=100, finished=self._now(), error=error)

    def _tick_unseen(self, kind: str, resource_id: int) -> None:
        """What is forgotten goes on, and shows at its resource alone."""
        for action in list(self._actions.values()):
            if action.forgotten and {"id": resource_id, "type": kind} in action.shown["resources"]:
                self._tick(action)

    def _must_be_idle(self, volume_id: int) -> None:
        for action in self._actions.values():
            if action.shown["status"] == "running" and {"id": volume_id, "type": "volume"} in action.shown["resources"]:
                raise Refused(423, "locked", "volume is locked")

    # Everything else

    def _list_ssh_keys(self, request: Request) -> Response:
        return self._page(request, "ssh_keys", self.ssh_keys)

    def _create_ssh_key(self, request: Request) -> Response:
        asked = request.json()
        if any(key["name"] == asked["name"] for key in self.ssh_keys.values()):
            raise Refused(409, "uniqueness_error", "SSH key not unique", {"fields": [{"name": "name"}]})
        if not re.fullmatch(r"ssh-(ed25519|rsa) [A-Za-z0-9+/=]+( .*)?", asked.get("public_key", "")):
            raise _invalid("public_key", "is not a valid SSH key")
        key_id = self._next_id()
        self.ssh_keys[key_id] = {
            "id": key_id, "name": asked["name"], "fingerprint": "b7:2f:30:a0", "public_key": asked["public_key"],
            "labels": asked.get("labels") or {}, "created": self._now(),
        }  # fmt: skip
        return Response.of(201, {"ssh_key": self.ssh_keys[key_id]})

    def _list_locations(self, request: Request) -> Response:
        return self._page(request, "locations", {place["id"]: place for place in _LOCATIONS})

    def _list_server_types(self, request: Request) -> Response:
        return self._page(request, "server_types", {size["id"]: size for size in _SERVER_TYPES})

    def _find(self, resources: dict[int, dict[str, Any]], resource_id: int) -> dict[str, Any]:
        resource = resources.get(resource_id)
        if resource is None or self._is_hidden(resource_id):
            raise Refused(404, "not_found", f"resource with ID {resource_id} not found")
        return resource

    def _page(self, request: Request, name: str, resources: Mapping[int, dict[str, Any]]) -> Response:
        page, size = int(request.one("page", "1")), min(50, int(request.one("per_page", "25")))
        matching = [
            resource
            for id_, resource in sorted(resources.items())
            if _matches(resource, request) and not self._is_hidden(id_)
        ]
        start = (page - 1) * size
        pages = max(1, -(-len(matching) // size))
        meta = {
            "pagination": {
                "page": page, "per_page": size, "total_entries": len(matching), "last_page": pages,
                "previous_page": page - 1 if page > 1 else None, "next_page": page + 1 if page < pages else None,
            }
        }  # fmt: skip
        shown = matching[start : start + size]
        if page == 1 and pages > 1 and self.faults.strike(f"list_{name}", frozenset({"deleted_meanwhile"})):
            del resources[shown[0]["id"]]  # type: ignore[attr-defined]
        return Response.of(200, {name: shown, "meta": meta})

    def _hide_if_ordered(self, call: str, resource_id: int) -> None:
        lag = self.faults.strike(call, frozenset({"create_lag"}))
        if lag is not None:
            self._hidden[resource_id] = lag.arguments["polls"]

    def _is_hidden(self, resource_id: int) -> bool:
        left = self._hidden.get(resource_id, 0)
        if left <= 0:
            return False
        self._hidden[resource_id] = left - 1
        return True

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _now(self) -> str:
        """A clock of its own, one second per id: nothing made here is as old as something made before."""
        return (_EPOCH + timedelta(seconds=self._last_id)).isoformat()


@cache
def _described_by(path: Path) -> Description:
    """Read once: it has a megabyte."""
    return Description(path, dropped=DIFFERENCES)


def _invalid(name: str, message: str) -> Refused:
    details = {"fields": [{"name": name, "messages": [message]}]}
    return Refused(422, "invalid_input", f"invalid input in field '{name}'", details)


def _matches(resource: dict[str, Any], request: Request) -> bool:
    """Name is exact; the selector here knows `k=v` and `k` joined by commas, which is what is asked with."""
    name = request.one("name")
    if name and resource.get("name") != name:
        return False
    labels = resource.get("labels", {})
    for term in filter(None, request.one("label_selector").split(",")):
        key, separator, value = term.partition("=")
        if (labels.get(key) != value) if separator else (key not in labels):
            return False
    return True


def _known(name: str | None, among: list[dict[str, Any]]) -> bool:
    return any(name in (entry["name"], str(entry["id"])) for entry in among)


def _location(name: str) -> dict[str, Any]:
    return next(place for place in _LOCATIONS if place["name"] == name)


def _server_type(name: str) -> dict[str, Any]:
    return next(size for size in _SERVER_TYPES if size["name"] == name)


_LOCATIONS: list[dict[str, Any]] = [
    {"id": id_, "name": name, "description": description, "country": country, "city": city, "latitude": latitude,
     "longitude": longitude, "network_zone": zone}
    for id_, name, description, country, city, latitude, longitude, zone in (
        (1, "fsn1", "Falkenstein DC Park 1", "DE", "Falkenstein", 50.47612, 12.370071, "eu-central"),
        (2, "nbg1", "Nuremberg DC Park 1", "DE", "Nuremberg", 49.452102, 11.076665, "eu-central"),
        (3, "hel1", "Helsinki DC Park 1", "FI", "Helsinki", 60.169855, 24.938379, "eu-central"),
    )
]  # fmt: skip


def _described_size(id_: int, name: str, cores: int, memory: float, disk: int, price: str) -> dict[str, Any]:
    gross = {"net": price, "gross": price}
    return {
        "id": id_, "name": name, "description": name.upper(), "category": "cost_optimized", "cores": cores,
        "memory": memory, "disk": disk, "storage_type": "local", "cpu_type": "shared", "architecture": "x86",
        "deprecated": False, "deprecation": None,
        "prices": [
            {"location": place["name"], "price_hourly": gross, "price_monthly": gross,
             "included_traffic": 20 * 1024**4, "price_per_tb_traffic": gross}
            for place in _LOCATIONS
        ],
        "locations": [
            {"id": place["id"], "name": place["name"], "deprecation": None, "available": True, "recommended": False}
            for place in _LOCATIONS
        ],
    }  # fmt: skip


_SERVER_TYPES = [
    _described_size(114, "cx23", 2, 4.0, 40, "2.9900000000"),
    _described_size(115, "cx33", 4, 8.0, 80, "4.9900000000"),
]

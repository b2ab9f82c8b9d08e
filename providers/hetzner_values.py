"""Hetzner Cloud's answers in our words, and ours in theirs. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from hcloud.server_types import BoundServerType
from hcloud.servers import BoundServer
from hcloud.volumes import BoundVolume
from nacl.signing import SigningKey

from providers.errors import NotFound
from providers.ports import MANAGED_BY, ResourceKey, Server, ServerState, Size, Volume, VolumeState

STATES: Mapping[str, ServerState] = {
    "running": ServerState.RUNNING,
    "initializing": ServerState.CREATING,
    "starting": ServerState.STARTING,
    "stopping": ServerState.STOPPING,
    "off": ServerState.STOPPED,
    "deleting": ServerState.DELETING,
    "rebuilding": ServerState.LOCKED,
    "migrating": ServerState.LOCKED,
}


def selector(key: ResourceKey) -> str:
    return ",".join(f"{name}={value}" for name, value in key.labels().items())


def selector_of(installation: str, environment_id: str | None) -> str:
    labels = ResourceKey(installation, environment_id or "", "").labels()
    asked = ["managed-by", "installation"] + (["environment"] if environment_id is not None else [])
    return ",".join(f"{name}={labels[name]}" for name in asked)


def number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise NotFound(f"{text!r} is no id of this provider", resource_id=text) from error


def server(bound: BoundServer) -> Server:
    """From the answer alone: an attribute of the bound object that is empty would send one more request."""
    model = bound.data_model
    net = model.public_net
    return Server(
        id=str(model.id),
        key=ResourceKey.from_labels(model.labels or {}),
        name=model.name or "",
        location=name_of(model.location),
        size=name_of(model.server_type),
        state=STATES.get(model.status or "", ServerState.UNKNOWN),
        ipv4=net.ipv4.ip if net and net.ipv4 else None,
        ipv6=net.ipv6.ip if net and net.ipv6 else None,
        attached_volume_ids=tuple(str(volume.id) for volume in model.volumes or ()),
        created_at=model.created,
        raw_state=model.status or "",
    )


def volume(bound: BoundVolume) -> Volume:
    """Attached is told by `server` alone; `status` knows creating and available only. While an attachment is under way
    `server` is null (unverified), so callers go by the operation that they hold."""
    model = bound.data_model
    attached = model.server is not None
    if model.status == "creating":
        state = VolumeState.CREATING
    elif model.status == "available":
        state = VolumeState.ATTACHED if attached else VolumeState.AVAILABLE
    else:
        state = VolumeState.UNKNOWN
    return Volume(
        id=str(model.id),
        key=ResourceKey.from_labels(model.labels or {}),
        name=model.name or "",
        location=name_of(model.location),
        size_gb=int(model.size or 0),
        state=state,
        server_id=str(model.server.id) if model.server is not None else None,
        device_path=model.linux_device,
        device_serial=serial(model.linux_device),
        formatted=model.format is not None,
        created_at=model.created if isinstance(model.created, datetime) else None,
        raw_state=model.status or "",
    )


def serial(device: str | None) -> str | None:
    """udev makes the link's name of "scsi-" and ID_SERIAL. Unverified on a real machine of this cloud."""
    return device.rpartition("/scsi-")[2] if device and "/scsi-" in device else None


def name_of(bound: Any) -> str:
    return (bound.data_model.name or "") if bound is not None else ""


def volume_reached(volume: Volume, want: str) -> tuple[bool, str, bool]:
    where = f"on server {volume.server_id}" if volume.server_id else "detached"
    last = f"{volume.raw_state}, {volume.size_gb} GB, {where}"
    kind, _, argument = want.partition(" ")
    if kind == "on":
        return volume.server_id == argument, last, volume.server_id not in (None, argument)
    if kind == "off":
        return volume.server_id is None, last, False
    if kind == "size":
        return volume.size_gb >= int(argument), last, False
    return volume.state is not VolumeState.CREATING, last, False


def sizes(bound: BoundServerType) -> list[Size]:
    """One entry per place and price, since the same size costs differently elsewhere; deprecated ones are left out."""
    model = bound.data_model
    orderable = {
        place.location.data_model.name
        for place in model.locations or ()
        if place.deprecation is None and place.available is not False
    }
    return [
        Size(
            name=model.name or "",
            cores=model.cores or 0,
            memory_mb=int((model.memory or 0) * 1000),
            disk_gb=model.disk or 0,
            architecture="aarch64" if model.architecture == "arm" else "x86_64",
            locations=(price["location"],),
            monthly_price=Decimal(price["price_monthly"]["net"]),
        )
        for price in model.prices or ()
        if price["location"] in orderable
    ]


def public_key_nobody_holds() -> str:
    """An Ed25519 public key in OpenSSH's form (RFC 4253 section 6.6); its private half is dropped here."""
    kind, public = b"ssh-ed25519", SigningKey.generate().verify_key.encode()
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind, public))
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} {MANAGED_BY}"

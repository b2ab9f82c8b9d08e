"""Scaleway's answers in our words, and ours in theirs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

from providers.errors import InvalidRequest
from providers.ports import GB, ResourceKey, Server, ServerState, Size, Volume, VolumeState

STATES: Mapping[str, ServerState] = {
    "running": ServerState.RUNNING,
    "stopped": ServerState.STOPPED,
    "stopped in place": ServerState.STOPPED,
    "stopped_in_place": ServerState.STOPPED,
    "starting": ServerState.STARTING,
    "stopping": ServerState.STOPPING,
    "locked": ServerState.LOCKED,
}


def zones(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (zone.strip() for zone in text.split(","))))


def root_gb(given: Any, least: int) -> int:
    try:
        size_gb = int(given)
    except (TypeError, ValueError):
        size_gb = 0
    if size_gb < least:
        raise InvalidRequest(
            "The account's options are wrong", fields={"root_gb": f"a whole number of at least {least}"}
        )
    return size_gb


def tags(key: ResourceKey) -> list[str]:
    return [f"{name}={value}" for name, value in key.labels().items()]


def tags_of(installation: str, environment_id: str | None) -> list[str]:
    labels = ResourceKey(installation, environment_id or "", "").labels()
    asked = ["managed-by", "installation"] + (["environment"] if environment_id is not None else [])
    return [f"{name}={labels[name]}" for name in asked]


def labels(tags: Sequence[str] | None) -> dict[str, str]:
    return {name: value for name, separator, value in (tag.partition("=") for tag in tags or ()) if separator}


def attachment(status: str, references: Sequence[Any]) -> tuple[VolumeState, str | None]:
    """State and server of a volume: detached is "available" without a reference, and nothing else."""
    plain = {
        "creating": VolumeState.CREATING,
        "updating": VolumeState.RESIZING,
        "resizing": VolumeState.RESIZING,
        "deleting": VolumeState.DELETING,
        "deleted": VolumeState.DELETING,
        "error": VolumeState.ERROR,
    }
    by_reference = {
        "attaching": VolumeState.ATTACHING,
        "attached": VolumeState.ATTACHED,
        "detaching": VolumeState.DETACHING,
    }
    server_id = references[0].product_resource_id if references else None
    if status in plain:
        return plain[status], server_id
    if references:
        return by_reference.get(str(references[0].status), VolumeState.UNKNOWN), server_id
    return (VolumeState.AVAILABLE if status == "available" else VolumeState.UNKNOWN), None


def is_what_is_wanted(volume: Volume, kind: str, argument: str) -> bool:
    if kind == "on":
        return volume.state is VolumeState.ATTACHED and volume.server_id == argument
    if kind == "off":
        return volume.state is VolumeState.AVAILABLE and volume.server_id is None
    if kind == "size":
        return volume.state is not VolumeState.RESIZING and volume.size_gb >= int(argument)
    return kind == "made" and volume.state is not VolumeState.CREATING


def size(name: str, row: Any, zone: str) -> Size:
    return Size(
        name=name,
        cores=row.ncpus,
        memory_mb=row.ram // 10**6,
        disk_gb=0,
        architecture="aarch64" if str(row.arch) == "arm64" else "x86_64",
        locations=(zone,),
        monthly_price=Decimal(str(row.monthly_price)) if row.monthly_price is not None else None,
    )


def concerns_us(quota: str) -> bool:
    return any(word in quota.lower() for word in ("cp_servers", "instance", "block", "volume"))


def is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False


def server(row: Any, zone: str) -> Server:
    volumes = row.volumes or {}
    addresses = [ip.address for ip in row.public_ips or []] or ([row.public_ip.address] if row.public_ip else [])
    detail = f" ({row.state_detail})" if row.state_detail else ""
    return Server(
        id=row.id,
        key=ResourceKey.from_labels(labels(row.tags)),
        name=row.name or "",
        location=zone,
        size=row.commercial_type or "",
        state=STATES.get(str(row.state), ServerState.UNKNOWN),
        ipv4=next((address for address in addresses if ":" not in address), None),
        ipv6=next((address for address in addresses if ":" in address), None),
        attached_volume_ids=tuple(volume.id for slot, volume in volumes.items() if slot != "0"),
        owned_volume_ids=(volumes["0"].id,) if "0" in volumes else (),
        created_at=row.creation_date,
        raw_state=f"{row.state}{detail}",
    )


def volume(row: Any, zone: str) -> Volume:
    """The Block API tells the truth about attachments; the Instance API forgets a volume before it is free."""
    state, server_id = attachment(str(row.status), row.references or [])
    return Volume(
        id=row.id,
        key=ResourceKey.from_labels(labels(row.tags)),
        name=row.name or "",
        location=zone,
        size_gb=row.size // GB,
        state=state,
        server_id=server_id,
        device_path=f"/dev/disk/by-id/scsi-0SCW_sbs_volume-{row.id}",
        device_serial=f"0SCW_sbs_volume-{row.id}",
        created_at=row.created_at,
        raw_state=str(row.status),
    )

"""Checks on what is asked of a provider, made from its capabilities before any request is sent. Pure."""

from __future__ import annotations

from providers.errors import InvalidRequest, LimitExceeded, PreconditionFailed
from providers.ports import Capabilities, Server, ServerSpec, Volume, VolumeConstraints, VolumeSpec

DEFAULT_VOLUME_GB = 10


def rounded_size(size_gb: int | None, constraints: VolumeConstraints) -> int:
    """The size in gigabytes that is ordered for a declared one: at least the minimum, a multiple of the step."""
    wanted = max(DEFAULT_VOLUME_GB if size_gb is None else size_gb, constraints.min_gb)
    steps = -(-wanted // constraints.step_gb)
    return steps * constraints.step_gb


def check_server(spec: ServerSpec, capabilities: Capabilities) -> None:
    """Raises InvalidRequest with every field that is wrong."""
    fields: dict[str, str] = {}
    size = len(spec.user_data.encode())
    if size > capabilities.user_data_max_bytes:
        fields["user_data"] = f"{size} bytes, at most {capabilities.user_data_max_bytes} are possible"
    if not spec.size:
        fields["size"] = "not given"
    _check_location(spec.location, capabilities, fields)
    _refuse("The server cannot be ordered", fields)


def check_volume(spec: VolumeSpec, capabilities: Capabilities) -> None:
    """Raises InvalidRequest with every field that is wrong."""
    fields: dict[str, str] = {}
    problem = _size_problem(spec.size_gb, capabilities.volumes)
    if problem:
        fields["size_gb"] = problem
    _check_location(spec.location, capabilities, fields)
    _refuse("The volume cannot be ordered", fields)


def check_attachment(volume: Volume, server: Server, capabilities: Capabilities) -> None:
    """Whether the volume may be attached to the server, as far as one can see from here.

    Raises PreconditionFailed if it is attached elsewhere, InvalidRequest for another location, LimitExceeded if the
    server has no place left.
    """
    if volume.server_id not in (None, server.id):
        raise PreconditionFailed(
            f"Volume {volume.id} is attached to server {volume.server_id}, not {server.id}", in_use_by=volume.server_id
        )
    constraints = capabilities.volumes
    if constraints.same_location and volume.location != server.location:
        where = f"volume in {volume.location}, server in {server.location}"
        raise InvalidRequest(f"Volume {volume.id} and server {server.id} are apart", fields={"location": where})
    others = set(server.attached_volume_ids) - {volume.id}
    if len(others) >= constraints.max_attached_per_server:
        raise LimitExceeded(f"Server {server.id} has {len(others)} volumes, which is as many as it can have")


def needs_growth(volume: Volume, size_gb: int, capabilities: Capabilities) -> bool:
    """Whether the volume has to grow for the size. Raises InvalidRequest, or PreconditionFailed while attached if the
    provider grows only what is detached."""
    if size_gb < volume.size_gb and capabilities.volumes.grow_only:
        _refuse(
            f"Volume {volume.id} cannot shrink", {"size_gb": f"{size_gb} is less than the {volume.size_gb} that it has"}
        )
    problem = _size_problem(size_gb, capabilities.volumes)
    if problem:
        _refuse(f"Volume {volume.id} cannot have that size", {"size_gb": problem})
    if size_gb == volume.size_gb:
        return False
    if volume.server_id is not None and not capabilities.volumes.resize_while_attached:
        raise PreconditionFailed(
            f"Volume {volume.id} has to be detached before it can grow", in_use_by=volume.server_id
        )
    return True


def server_differences(server: Server, spec: ServerSpec) -> str:
    """What of an existing server does not match; empty if nothing. The image is no difference: an account's default may
    change while its servers live."""
    found, wanted = (server.size, server.location), (spec.size, spec.location)
    return "" if found == wanted else f"it is {' in '.join(found)}, asked for is {' in '.join(wanted)}"


def volume_differences(volume: Volume, spec: VolumeSpec) -> str:
    """What of an existing volume does not match; empty if nothing. Another size is none: volumes grow."""
    if volume.location == spec.location:
        return ""
    return f"it is in {volume.location}, asked for is {spec.location}"


def _size_problem(size_gb: int, constraints: VolumeConstraints) -> str:
    if size_gb < constraints.min_gb:
        return f"{size_gb} is less than the minimum of {constraints.min_gb}"
    if size_gb > constraints.max_gb:
        return f"{size_gb} is more than the maximum of {constraints.max_gb}"
    if size_gb % constraints.step_gb:
        return f"{size_gb} is no multiple of {constraints.step_gb}"
    return ""


def _check_location(location: str, capabilities: Capabilities, fields: dict[str, str]) -> None:
    known = [place.name for place in capabilities.locations]
    if not location:
        fields["location"] = "not given"
    elif capabilities.locations_are_all and location not in known:
        fields["location"] = f"{location!r} is none of {', '.join(known)}"


def _refuse(message: str, fields: dict[str, str]) -> None:
    if fields:
        listed = "; ".join(f"{name}: {problem}" for name, problem in fields.items())
        raise InvalidRequest(f"{message}: {listed}", fields=fields)

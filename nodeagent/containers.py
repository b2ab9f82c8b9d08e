"""Containers on this node: observed by label, moved by id, over the Docker Engine's socket."""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import docker
import docker.errors
import requests

from . import bundles, loglines
from .faults import ApplyError

ENVIRONMENT, SERVICE, RELEASE = "sam.environment", "sam.service", "sam.release"
ROLE = "sam.role"
"""Set on containers that are no service: a pre-flight, or one made to fill a volume."""

CALL_TIMEOUT_SECONDS = 60
NO_DIGEST = ""
Health = str


@dataclass(frozen=True, slots=True)
class Container:
    """One container as Docker describes it now. Times in Unix seconds, 0 for never."""

    id: str
    environment_id: str
    service: str
    release: int
    role: str
    state: str
    """created, running, restarting, paused, exited, dead or removing."""
    health: Health
    """Docker's word: starting, healthy, unhealthy, or none where there is no check."""
    exit_code: int | None
    """None while it never ended."""
    restarts: int
    image_id: str
    started_at: float
    error: str
    stop_seconds: int
    ports: Mapping[int, int] = field(default_factory=dict)
    """Container port -> loopback port."""
    aliases: tuple[str, ...] = ()
    address: str = ""
    """In the environment's network; empty unless it runs."""
    described: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)
    """The whole description. Never shown or sent: it has the values of secrets in it."""

    @property
    def is_up(self) -> bool:
        return self.state == "running"

    @property
    def is_done(self) -> bool:
        """Ended by itself with success: a completed job."""
        return self.state == "exited" and self.exit_code == 0


@contextlib.contextmanager
def spoken(code: str, doing: str, *, service: str = "") -> Iterator[None]:
    """Translate what the Engine objects into ApplyError. The Engine's sentences hold no environment values."""
    try:
        yield
    except docker.errors.APIError as error:
        raise ApplyError(
            code, f"{doing}: Docker says: {str(error.explanation or error)[:500]}", service=service
        ) from error
    except (docker.errors.DockerException, requests.RequestException, OSError) as error:
        raise ApplyError(
            "docker.unreachable",
            f"{doing}: the Docker Engine does not answer ({type(error).__name__}).",
            retryable=True,
        ) from error


class Engine:
    """The Docker Engine of this node. Methods raise ApplyError; whatever is gone already counts as removed."""

    def __init__(self, docker_host: str):
        self.host = docker_host
        self._connecting = threading.Lock()
        self._client: docker.APIClient | None = None

    @property
    def api(self) -> docker.APIClient:
        """The connection, made at the first use: the agent starts before Docker does."""
        with self._connecting:
            if self._client is None:
                with spoken("docker.unreachable", "Connecting"):
                    self._client = docker.APIClient(base_url=self.host, version="auto", timeout=CALL_TIMEOUT_SECONDS)
            return self._client

    def of_environment(self, environment_id: str) -> list[Container]:
        """All containers with the environment's label, whoever made them, in whatever state; services and others."""
        with spoken("docker.list", "Listing containers"):
            rows = self.api.containers(all=True, filters={"label": f"{ENVIRONMENT}={environment_id}"})
        found = (self.find(row["Id"]) for row in rows)
        return sorted((c for c in found if c is not None), key=lambda c: (c.service, c.release, c.id))

    def find(self, container_id: str) -> Container | None:
        """The container, None where it is gone."""
        with spoken("docker.inspect", "Looking at a container"):
            try:
                return read(self.api.inspect_container(container_id))
            except docker.errors.NotFound:
                return None

    def everywhere(self) -> list[Mapping[str, Any]]:
        """One short row for every container of the machine, ours or not."""
        with spoken("docker.list", "Listing containers"):
            return list(self.api.containers(all=True))

    def start(self, container: Container) -> None:
        with spoken("container.start", f"Starting {container.service}", service=container.service):
            self.api.start(container.id)

    def stop(self, container: Container, seconds: int | None = None) -> None:
        """Ask it to end, and end it after its grace period, or after `seconds`."""
        grace = container.stop_seconds if seconds is None else min(seconds, container.stop_seconds)
        with spoken("container.stop", f"Stopping {container.service}"), contextlib.suppress(docker.errors.NotFound):
            self.api.stop(container.id, timeout=grace)

    def remove(self, container_id: str) -> None:
        """Remove it, running or not, and wait until it is gone."""
        with spoken("container.remove", "Removing a container"):
            try:
                self.api.remove_container(container_id, force=True, v=True)
            except docker.errors.NotFound:
                return
            except docker.errors.APIError as error:
                if error.status_code != 409:  # somebody is removing it at this moment
                    raise

    def create(self, config: Mapping[str, Any], name: str) -> str:
        """A container from a description; its id."""
        with spoken("container.create", f"Creating {name}"):
            return str(self.api.create_container_from_config(config, name)["Id"])

    def rename_in(self, network: str, container: Container, aliases: Sequence[str]) -> None:
        """Give the container these names in the network, and no other of ours.

        Docker changes names only by leaving the network and coming back. It comes back under the same address, so that
        its open connections go on, and its published port stays.
        """
        with spoken("network.name", f"Naming {container.service}", service=container.service):
            with contextlib.suppress(docker.errors.NotFound):
                self._disconnect(network, container.id)
            try:
                self.api.connect_container_to_network(
                    container.id, network, ipv4_address=container.address or None, aliases=list(aliases)
                )
            except docker.errors.APIError:
                # Somebody took the address in between; a new one breaks open connections, and is better than none.
                self.api.connect_container_to_network(container.id, network, aliases=list(aliases))

    def _disconnect(self, network: str, container_id: str) -> None:
        try:
            self.api.disconnect_container_from_network(container_id, network)
        except docker.errors.APIError as error:
            if "not connected" not in str(error.explanation):
                raise

    def remove_network(self, network: str) -> None:
        with spoken("network.remove", f"Removing the network {network}"), contextlib.suppress(docker.errors.NotFound):
            self.api.remove_network(network)

    def others_in(self, network: str, known: Collection[str], environment_id: str) -> list[str]:
        """Names of containers in the network that are neither known nor carry the environment's label."""
        with spoken("network.inspect", f"Looking at the network {network}"):
            try:
                members = self.api.inspect_network(network).get("Containers") or {}
            except docker.errors.NotFound:
                return []
        strangers = [i for i in members if i not in known and not i.startswith("ep-")]
        found = [c for c in map(self.find, strangers) if c is not None and c.environment_id != environment_id]
        return [str(c.described.get("Name", c.id)).lstrip("/") for c in found]

    def subnets(self) -> dict[str, list[str]]:
        """Network name -> its subnets."""
        with spoken("network.list", "Listing networks"):
            rows = self.api.networks()
        return {
            row["Name"]: [c["Subnet"] for c in (row.get("IPAM") or {}).get("Config") or () if "Subnet" in c]
            for row in rows
        }

    def log_lines(
        self, container_id: str, *, stream: str, since: float | None, tail: int | None
    ) -> list[tuple[str, str]]:
        """(time as Docker writes it, text) of whole lines of one stream, oldest first.

        `since` in Unix seconds: reading begins somewhat before it, and the caller drops what is too old. `tail` counts
        Docker's pieces; a line whose beginning is further back than that is left out.
        """
        begin = max(int(since) - loglines.LOOK_BACK_SECONDS, 0) if since is not None else None
        with spoken("docker.logs", "Reading logs"):
            pieces: list[bytes] = list(
                self.api.logs(
                    container_id,
                    stdout=stream == "stdout",
                    stderr=stream == "stderr",
                    stream=True,
                    follow=False,
                    timestamps=True,
                    since=begin,
                    tail=tail + 1 if tail is not None else "all",
                )
            )
        return loglines.whole(pieces, skip_first=tail is not None and len(pieces) > tail)

    def log_tail(self, container_id: str, lines: int) -> str:
        """The newest lines of both streams, oldest first; empty where there are none to be had."""
        try:
            rows = [
                row
                for stream in ("stdout", "stderr")
                for row in self.log_lines(container_id, stream=stream, since=None, tail=lines)
            ]
        except ApplyError:
            return ""
        return "\n".join(text for _, text in sorted(rows, key=lambda row: row[0])[-lines:])

    # Images

    def image(self, reference: str) -> Mapping[str, Any] | None:
        """The image by id or reference, None where it is not here."""
        with spoken("docker.image", "Looking at an image"):
            try:
                return dict(self.api.inspect_image(reference))
            except docker.errors.NotFound:
                return None

    def digests(self, image_id: str) -> list[str]:
        """The digests under which the image was pulled."""
        found = self.image(image_id)
        return [name.partition("@")[2] for name in (found or {}).get("RepoDigests") or ()]

    def observed_digest(self, container: Container, expected: str) -> str:
        """The digest that the container's image really has: the expected one if it is among them, else the first."""
        digests = self.digests(container.image_id)
        if expected in digests:
            return expected
        return digests[0] if digests else NO_DIGEST

    def pull(self, reference: str, login: Mapping[str, str], on_line: Callable[[Mapping[str, Any]], None]) -> None:
        """Pull by digest. The credentials travel in the request and are written nowhere. Raises ApplyError."""
        repository, _, digest = reference.partition("@")
        with spoken("image.pull", f"Pulling {reference}"):
            try:
                for line in self.api.pull(repository, tag=digest, stream=True, decode=True, auth_config=dict(login)):
                    if "error" in line:
                        raise _pull_error(reference, str(line["error"]))
                    on_line(line)
            except docker.errors.APIError as error:
                raise _pull_error(reference, str(error.explanation)) from error

    def remove_image(self, reference: str) -> bool:
        """Remove one name of an image, and the image with its last name. False where something still needs it."""
        try:
            self.api.remove_image(reference)
        except docker.errors.NotFound:
            return True
        except (docker.errors.DockerException, requests.RequestException):
            return False
        return True

    def root_dir(self) -> str:
        """Where the Engine keeps images and containers, on this machine's file system."""
        with spoken("docker.info", "Asking for Docker's directory"):
            return str(self.api.info()["DockerRootDir"])


def _pull_error(reference: str, said: str) -> ApplyError:
    """By what the Engine says: gone, forbidden, or something that may pass."""
    lowered = said.lower()
    if "not found" in lowered or "manifest unknown" in lowered:
        return ApplyError("image.not_found", f"The registry does not have {reference}: {said[:300]}. Push it again.")
    if "denied" in lowered or "unauthorized" in lowered or "authentication required" in lowered:
        return ApplyError("image.denied", f"The registry refuses {reference} to this node: {said[:300]}.")
    if "no space left" in lowered:
        return ApplyError("disk.full", f"The disk is full: {reference} could not be unpacked. Make room on the node.")
    return ApplyError("image.pull", f"{reference} could not be pulled: {said[:300]}.", retryable=True)


def read(described: Mapping[str, Any]) -> Container:
    """A container from the Engine's description."""
    labels = described["Config"].get("Labels") or {}
    state, host = described["State"], described.get("HostConfig") or {}
    networks = (described.get("NetworkSettings") or {}).get("Networks") or {}
    own = networks.get(bundles.network(labels.get(ENVIRONMENT, ""))) or {}
    started = timestamp(state.get("StartedAt") or "")
    return Container(
        id=described["Id"],
        environment_id=labels.get(ENVIRONMENT, ""),
        service=labels.get(SERVICE, ""),
        release=int(labels[RELEASE]) if labels.get(RELEASE, "").isdigit() else 0,
        role=labels.get(ROLE, ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status") or "none",
        exit_code=state["ExitCode"] if started and not state["Running"] else None,
        restarts=int(described.get("RestartCount") or 0),
        image_id=described["Image"],
        started_at=started,
        error=state.get("Error") or ("killed for want of memory" if state.get("OOMKilled") else ""),
        stop_seconds=_stop_seconds(described),
        ports=_ports(host.get("PortBindings") or {}),
        aliases=tuple(own.get("Aliases") or ()),
        address=own.get("IPAddress") or "",
        described=described,
    )


def _stop_seconds(described: Mapping[str, Any]) -> int:
    seconds = described["Config"].get("StopTimeout")
    return 10 if seconds is None else int(seconds)


def _ports(bindings: Mapping[str, Any]) -> dict[int, int]:
    return {
        int(port.partition("/")[0]): int(bound[0]["HostPort"])
        for port, bound in bindings.items()
        if bound and bound[0].get("HostPort")
    }


def timestamp(text: str) -> float:
    """Unix seconds of an RFC 3339 time of Docker's, 0 for its "never" (year 1) and for none. Nanoseconds are cut."""
    if not text or text.startswith("0001-"):
        return 0.0
    whole, _, rest = text.rstrip("Z").partition(".")
    fraction = float("0." + (rest[:9] or "0")) if rest[:9].isdigit() or not rest else 0.0
    moment = datetime.datetime.fromisoformat(whole).replace(tzinfo=datetime.UTC)
    return moment.timestamp() + fraction

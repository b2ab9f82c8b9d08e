"""Payloads: what a node fetches, rendered, sealed for it alone, signed, stored, and shipped byte for byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from nodeagent.wire import envelope as envelopes
from nodeagent.wire import sealed as sealing
from nodeagent.wire.decode import encode
from nodeagent.wire.digests import EMPTY, sha256_digest
from nodeagent.wire.envelope import PAYLOAD_RELEASE
from nodeagent.wire.errors import WireError
from nodeagent.wire.fetch import MAX_COMPOSE_BYTES, MAX_ROUTES_BYTES, MAX_VOLUMES_BYTES
from nodeagent.wire.orders import DeviceSource, DirectorySource, VolumeOrder
from nodeagent.wire.sealed import RegistryLogin, Sealed
from nodeagent.wire.statement import MAX_LIFETIME_SECONDS, Action, Statement
from registry import backends, credentials
from registry.errors import RegistryError

from .. import signing
from ..domain import images, manifest, references, renderer, routes
from ..domain.manifest import Manifest
from ..domain.references import Expression
from ..domain.states import ReleaseStatus, VolumeState
from ..errors import DeploymentError, NodeUnavailable, NotFound
from ..models import Environment, Node, Order, Payload, Release, Volume
from ..selectors import manifests
from . import release_log, values

# A node that fetches a payload gets it with at least this much of its life left.
_LEFT_AT_LEAST_SECONDS = 120
_BYTES_PER_GB = 10**9


class ReferenceUnset(DeploymentError):
    """What was set when the release was accepted is unset now that it is to be made."""

    code, status = "reference.unset", 422

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)

    def __str__(self) -> str:
        return (
            f"Not set: {', '.join(self.names)}. Set each with `manage.py secret set` or `manage.py variable set`, "
            "then release again."
        )


class VolumeNotAttached(DeploymentError):
    """A declared volume is not where the node could mount it."""

    code, retryable = "volume.not_attached", True

    def __init__(self, name: str, state: str):
        self.name, self.volume_state = name, state

    def __str__(self) -> str:
        return f"Volume {self.name} is {self.volume_state}. The release goes on as soon as it is attached."


class PayloadTooLarge(DeploymentError):
    """The manifest is within its bounds, and what it comes to on the wire is not."""

    code, status = "payload.too_large", 422

    def __init__(self, part: str, limit: int):
        self.part, self.limit = part, limit

    def __str__(self) -> str:
        return f"{self.part} would be larger than {self.limit} bytes. Use fewer services, or shorter values."


class PullCredentialsFailed(DeploymentError):
    """The registry gave no credentials for the node to pull with."""

    code, status = "registry.mint_failed", 503

    def __init__(self, fault: RegistryError):
        self.fault = fault
        self.retryable = fault.retryable  # type: ignore[misc]  # as the registry says, from one refusal to the next

    def __str__(self) -> str:
        return f"No pull credentials for the node: {self.fault}"


@dataclass(frozen=True, slots=True)
class _Parts:
    """The attachments of a statement, byte for byte; all empty for stop and retire."""

    compose: bytes = b""
    routes: bytes = b""
    volumes: bytes = b""
    sealed: bytes = b""


@dataclass(frozen=True, slots=True)
class _Values:
    """What the expressions of a manifest come to: texts as `SAM_SECRET_n`, and name to version where one is set."""

    texts: tuple[str, ...]
    versions: Mapping[str, int]

    def __repr__(self) -> str:
        return f"_Values({len(self.texts)} texts)"


def make(
    *,
    environment: Environment,
    node: Node,
    sequence: int,
    action: str,
    release: Release | None,
    stopped: Release | None,
) -> Payload:
    """Make and store the payload of one sequence for one node, in the caller's transaction.

    `action` is `apply` (with `release`), `stop` or `retire` (with the release that is `stopped`, None if none is).
    Writes to the release what this payload was made from: the versions of its references, and for each service the
    sequence that last changed it. Raises ReferenceUnset, VolumeNotAttached, PayloadTooLarge, NodeUnavailable,
    PullCredentialsFailed, signing.KeysMissing, vault.SealBroken.
    """
    if node.ed25519_public is None or node.x25519_public is None:
        raise NodeUnavailable(environment, "has not enrolled yet")
    parts = _Parts() if release is None else _parts(environment, node, release)
    subject = release or stopped
    now = timezone.now()
    statement = _statement(
        environment,
        node,
        sequence,
        _action(action),
        subject.manifest_digest if subject else EMPTY,
        parts,
        now,
    )
    raw = envelopes.sign(PAYLOAD_RELEASE, encode(statement), signing.release_key())
    payload = Payload.objects.create(
        environment=environment,
        node=node,
        sequence=sequence,
        generation=environment.generation,
        envelope=raw,
        compose=parts.compose,
        routes=parts.routes,
        volumes=parts.volumes,
        sealed=parts.sealed,
        release_digest=statement.release_digest,
        issued_at=now,
        expires_at=datetime.fromtimestamp(statement.expires_at, tz=now.tzinfo),
    )
    release_log.append(
        project_id=environment.project_id,
        body={
            "what": release_log.PAYLOAD_SIGNED,
            "environment_id": str(environment.pk),
            "sequence": sequence,
            "manifest_digest": statement.release_digest,
            "action": statement.action,
            "by": {"control_plane": "release-key"},
            "node": str(node.pk),
            # The key that the answer must be signed with, so that a receipt in this log is checked against it.
            "node_key": bytes(node.ed25519_public).hex(),
            "envelope": raw.decode(),
        },
    )
    return payload


def current(*, environment: Environment, sequence: int, node: Node) -> Payload:
    """The newest payload of this sequence for this node; made anew where there is none, or its life is nearly over.

    Raises NotFound for a sequence that is no release or order, and what `make` raises.
    """
    with transaction.atomic():
        row = Environment.objects.locked(environment.pk)
        newest = (
            Payload.objects.filter(environment=row, sequence=sequence, node=node, generation=row.generation)
            .order_by("-issued_at")
            .first()
        )
        if newest and newest.expires_at > timezone.now() + timedelta(seconds=_LEFT_AT_LEAST_SECONDS):
            return newest
        return _make_anew(row, sequence, node)


def _make_anew(environment: Environment, sequence: int, node: Node) -> Payload:
    release = Release.objects.filter(environment=environment, sequence=sequence).first()
    if release is not None:
        return make(
            environment=environment, node=node, sequence=sequence, action="apply", release=release, stopped=None
        )
    order = Order.objects.filter(environment=environment, sequence=sequence).first()
    if order is None:
        raise NotFound("release", sequence)
    stopped = Release.objects.filter(environment=environment, sequence=order.stopped_sequence).first()
    return make(
        environment=environment, node=node, sequence=sequence, action=order.action, release=None, stopped=stopped
    )


def _action(name: str) -> Action:
    known: dict[str, Action] = {"apply": "apply", "stop": "stop", "retire": "retire"}
    return known[name]


def _statement(
    environment: Environment, node: Node, sequence: int, action: Action, digest: str, parts: _Parts, now: datetime
) -> Statement:
    issued_at = int(now.timestamp())
    live = Release.objects.filter(environment=environment, status=ReleaseStatus.LIVE)
    return Statement(
        v=1,
        node_id=str(node.pk),
        environment_id=str(environment.pk),
        generation=environment.generation,
        seq=sequence,
        action=action,
        release_digest=digest,
        previous_release_digest=live.values_list("manifest_digest", flat=True).first() or "",
        issued_at=issued_at,
        expires_at=issued_at + min(settings.PAYLOAD_LIFETIME_SECONDS, MAX_LIFETIME_SECONDS),
        keyset_version=signing.newest_version(),
        compose_sha256=sha256_digest(parts.compose),
        routes_sha256=sha256_digest(parts.routes),
        volumes_sha256=sha256_digest(parts.volumes),
        sealed_sha256=sha256_digest(parts.sealed),
    )


def _parts(environment: Environment, node: Node, release: Release) -> _Parts:
    content = manifests.of(release)
    found = _resolved(environment, content)
    if release.status != ReleaseStatus.LIVE:
        # A payload made anew for what already runs must not rewrite what its containers were made from.
        release.changed_in = _changed_in(environment, release, content, found.versions)
        release.reference_versions = dict(found.versions)
        Release.objects.filter(pk=release.pk).update(
            changed_in=release.changed_in, reference_versions=release.reference_versions
        )
    compose = renderer.render(
        content,
        environment_id=str(environment.pk),
        sequence=release.sequence,
        changed_in=release.changed_in,
    )
    return _Parts(
        compose=_bounded("The Compose file", compose, MAX_COMPOSE_BYTES),
        routes=_bounded("The routes", routes.routes_json(content), MAX_ROUTES_BYTES),
        volumes=_bounded("The volumes", _volumes_json(environment, content), MAX_VOLUMES_BYTES),
        sealed=_sealed(environment, node, release, content, found),
    )


def _resolved(environment: Environment, content: Manifest) -> _Values:
    """Raises ReferenceUnset, naming all that are missing."""
    known = values.plain(environment)
    texts = {name: value.text for name, value in known.items()}
    unset = sorted({each.name for each in references.missing(content, texts)})
    if unset:
        raise ReferenceUnset(unset)
    expressions = references.expressions(content)
    return _Values(
        texts=tuple(references.resolve(each, texts) for each in expressions),
        versions={each.name: known[each.name].version for each in expressions if each.name in known},
    )


def _changed_in(
    environment: Environment, release: Release, content: Manifest, versions: Mapping[str, int]
) -> dict[str, int]:
    """Service to the sequence that last changed it, compared with the release that is live."""
    live = Release.objects.filter(environment=environment, status=ReleaseStatus.LIVE).first()
    if live is None:
        return dict.fromkeys(content.services, release.sequence)
    old = manifests.of(live)
    kept = unchanged_services(old, content, live.reference_versions, versions)
    return {
        name: live.changed_in.get(name, release.sequence) if name in kept else release.sequence
        for name in content.services
    }


def unchanged_services(
    old: Manifest, new: Manifest, old_versions: Mapping[str, int], new_versions: Mapping[str, int]
) -> set[str]:
    """The services whose containers can go on: same definition, public ports, and versions of what they refer to."""
    return {
        name
        for name in old.services.keys() & new.services.keys()
        if _definition(old, name) == _definition(new, name)
        and all(old_versions.get(each.name) == new_versions.get(each.name) for each in _expressions_of(new, name))
    }


def _definition(content: Manifest, name: str) -> tuple[object, frozenset[int]]:
    """What the renderer makes a service's container from; a public route publishes a port of the container."""
    public = frozenset(route.port for route in content.routes if route.service == name and route.mode == "public")
    return manifest.to_json(replace(content, services={name: content.services[name]}))["services"][name], public


def _expressions_of(content: Manifest, name: str) -> Sequence[Expression]:
    return references.expressions(replace(content, services={name: content.services[name]}))


def _volumes_json(environment: Environment, content: Manifest) -> bytes:
    """RFC 8785 JSON: compact, members sorted, ASCII names, integers below 2^53."""
    rows = {row.name: row for row in environment.volumes.exclude(state=VolumeState.DELETED)}
    return encode([_volume_order(name, rows.get(name)) for name in sorted(content.volumes)])


def _volume_order(name: str, row: Volume | None) -> VolumeOrder:
    if row is None or row.state != VolumeState.ATTACHED:
        raise VolumeNotAttached(name, row.state if row else "not there")
    return VolumeOrder(name=name, id=row.volume_id, source=_source(row), read_only=False)


def _source(row: Volume) -> DirectorySource | DeviceSource:
    """`device_path` is a device at clouds, and the volume's directory at a provider that has no devices."""
    if not row.device_path.startswith("/dev/"):
        return DirectorySource("directory", row.device_path)
    return DeviceSource(
        "device",
        row.device_path,
        serial=row.device_serial or row.volume_id,
        size_bytes=row.size_gb * _BYTES_PER_GB,
        format=None if row.ever_formatted else "ext4",
    )


def _sealed(environment: Environment, node: Node, release: Release, content: Manifest, found: _Values) -> bytes:
    plaintext = Sealed(
        environment_id=str(environment.pk),
        node_id=str(node.pk),
        seq=release.sequence,
        values=found.texts,
        registries=_logins(environment, node, content),
    )
    try:
        return sealing.seal(plaintext, bytes(node.x25519_public or b""))
    except WireError as fault:
        raise PayloadTooLarge("The sealed part", sealing.MAX_SEALED_BYTES) from fault


def _logins(environment: Environment, node: Node, content: Manifest) -> tuple[RegistryLogin, ...]:
    """Pull-only, of exactly the repositories that this release names in our registry; elsewhere images are public."""
    named = [images.parse_reference(text) for text in manifest.images(content).values()]
    ours = sorted({image.path for image in named if image.host == backends.configured().host})
    if not ours:
        return ()
    try:
        login = credentials.mint_pull(
            project_id=environment.project_id,
            environment_id=environment.pk,
            repositories=ours,
            requested_by={"node": str(node.pk)},
            # Accepted in its last second, and then pulled for as long as an apply may take.
            ttl_seconds=min(MAX_LIFETIME_SECONDS + settings.APPLY_DEADLINE_SECONDS, credentials.MAX_PULL_TTL_SECONDS),
        )
    except RegistryError as fault:
        raise PullCredentialsFailed(fault) from fault
    return (RegistryLogin(login.host, login.username, login.password.reveal()),)


def _bounded(part: str, content: bytes, limit: int) -> bytes:
    if len(content) > limit:
        raise PayloadTooLarge(part, limit)
    return content

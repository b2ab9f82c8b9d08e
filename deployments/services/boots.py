"""Boots: what a rented machine is told to become, and what it tells until it is enrolled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from pydantic import BaseModel, ConfigDict, Field

from providers import options
from providers.errors import ProviderError
from providers.models import ProviderAccount
from registry import backends
from timeline import events

from ..domain import cloudinit
from ..domain.states import NodeState
from ..errors import DeploymentError
from ..models import Environment, Node
from . import agent_bundles, storable

MAX_LOG_TAIL_CHARACTERS = 8000
_AWAITED = frozenset({NodeState.CREATING, NodeState.BOOTING})
_HARDENING = "metadata"


class UnreachableByNodes(ProviderError):
    """A machine elsewhere would be paid for, and could never call home. Nothing is asked of the provider."""

    code = "node.control_url"
    cure = (
        "Set SAM_PUBLIC_URL and SAM_REGISTRY_URL to https addresses that nodes reach; one account's nodes reach the "
        "control plane elsewhere with the option control_url."
    )


class UserDataRefused(ProviderError):
    """What the node has to be told does not fit."""

    code = cloudinit.UserDataTooLarge.code
    cure = "Correct the named settings; asking again unchanged cannot help."


class BootRefused(DeploymentError):
    """The token is unknown, used, expired, or its node is not awaited: not told apart."""

    code: ClassVar[str] = "boot.token"
    status: ClassVar[int] = 401

    def __str__(self) -> str:
        return "No machine is awaited with this token. It comes with a new node's user data, and serves one enrolment."


class PhaseReport(BaseModel):
    """One line of a boot. `at` is the machine's clock in Unix milliseconds, which orders what arrives out of order."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    at: Annotated[int, Field(ge=0, le=2**53)]
    phase: Literal["network", "packages", "agent", "metadata", "units", "enrol"]
    state: Literal["begin", "end", "failed"]
    log_tail: Annotated[str, Field(max_length=MAX_LOG_TAIL_CHARACTERS)] = ""


class BootReport(BaseModel):
    """What one call of a booting machine brings."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    reports: Annotated[list[PhaseReport], Field(min_length=1, max_length=8)]


# What a machine is told


def user_data(*, environment: Environment, node: Node, enrolment: Mapping[str, Any]) -> str:
    """The cloud-init user data of this node. `enrolment` is what `nodes.enrolment` answered in this transaction.

    Raises UnreachableByNodes, UserDataRefused.
    """
    given = _options(node.account)
    control_url = str(given.get("control_url") or settings.PUBLIC_URL).rstrip("/")
    registry_url = str(settings.REGISTRY_URL)
    _check_reachable(node, {"control plane": control_url, "registry": registry_url}, given)
    try:
        return cloudinit.user_data(
            cloudinit.Boot(
                control_url=control_url,
                token=enrolment["token"],
                keyset=enrolment["keyset"],
                agent_sha256=agent_bundles.current().sha256,
                registry_host=backends.configured().host,
                role=node.role,
                environment_id=str(environment.pk),
                ca=_pem(settings.CA_FILE) if control_url.startswith("https") else None,
                registry_ca=_pem(settings.REGISTRY_CA_FILE) if registry_url.startswith("https") else None,
            )
        )
    except cloudinit.UserDataTooLarge as fault:
        raise UserDataRefused(str(fault)) from fault


def _check_reachable(node: Node, urls: Mapping[str, str], given: Mapping[str, Any]) -> None:
    """A machine's own loopback is never ours; a cloud that is itself on loopback is a stand-in, and is only warned.

    Raises UnreachableByNodes.
    """
    for what, url in urls.items():
        if options.is_loopback(url):
            why = f"Nodes cannot reach the {what} at {url}, a loopback address"
            if not options.is_loopback(str(given.get("api_url") or "")):
                raise UnreachableByNodes(why)
            _warn(node, f"{what}: {why}.")
        elif not url.startswith("https://"):
            raise UnreachableByNodes(f"The {what} at {url} is not https, so tokens would travel in clear")


def _warn(node: Node, summary: str) -> None:
    """Once for each node, however often its making is tried."""
    told = events.of_subject("node", node.pk).filter(kind="node:unreachable_address", data__summary=summary)
    if not told.exists():
        data = {"code": UnreachableByNodes.code, "summary": summary}
        _record(node, "node:unreachable_address", "warning", data)


def _options(account: str) -> Mapping[str, Any]:
    """The account's options over those of its provider's settings."""
    row = ProviderAccount.objects.filter(name=account).first()
    entry = cast(Mapping[str, Any], settings.PROVIDERS.get(row.slug if row else account, {}))
    return {**entry.get("options", {}), **(row.options if row else {})}


def _pem(path: Path | None) -> str | None:
    """Raises UserDataRefused for a file that is not there."""
    if path is None:
        return None
    try:
        return Path(path).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as fault:
        raise UserDataRefused(f"The certificates in {path} cannot be read: {type(fault).__name__}") from fault


# What a machine tells


def awaited(token: str) -> Node:
    """The node whose machine has this token, and is not enrolled yet. Raises BootRefused."""
    node = Node.objects.filter(enrolment_sha256=hashlib.sha256(token.encode()).digest()).first()
    expires_at = node.enrolment_expires_at if node else None
    if node is None or node.quarantined_at is not None or node.state not in _AWAITED:
        raise BootRefused
    if expires_at is None or expires_at < timezone.now():
        raise BootRefused
    return node


def take(*, token: str, report: BootReport) -> None:
    """Record what the machine told: on the node, and as events. Twice the same is the same. Raises BootRefused."""
    with transaction.atomic():
        node = Node.objects.select_for_update(of=("self",)).select_related("owner").get(pk=awaited(token).pk)
        boot = dict(node.boot)
        for each in report.reports:
            if _is_news(boot, each):
                log_tail = storable.text(each.log_tail).replace(token, "[redacted]")
                boot = _with(boot, each, log_tail)
                _tell(node, each, log_tail)
        Node.objects.filter(pk=node.pk).update(boot=boot)


def summary(node: Node) -> str:
    """One sentence on how far the machine came, for a boot that took too long."""
    boot = node.boot
    if not boot:
        return "The machine has not reported anything: it did not start, or cannot reach the control plane."
    at = datetime.fromtimestamp(boot["at"] / 1000, UTC).isoformat(timespec="seconds")
    words = {"begin": "began", "end": "ended", "failed": "failed"}
    return f"The machine reported last that phase {boot['phase']} {words[boot['state']]}, at {at}."


def _is_news(boot: Mapping[str, Any], report: PhaseReport) -> bool:
    """A repetition, or what came late about a phase that went on since, is not.

    Within one millisecond a phase can begin and end: "begin" < "end" < "failed", also by their letters.
    """
    known = boot.get("phases", {}).get(report.phase)
    return known is None or (report.at, report.state) > (known["at"], known["state"])


def _with(boot: Mapping[str, Any], report: PhaseReport, log_tail: str) -> dict[str, Any]:
    """The row's record with one line more: the latest at its top, each phase under `phases`."""
    phases = dict(boot.get("phases", {}))
    phases[report.phase] = {"state": report.state, "at": report.at}
    known = {**boot, "phases": phases}
    if report.at >= boot.get("at", 0):
        known |= {"phase": report.phase, "state": report.state, "at": report.at}
    if report.state == "failed":
        known["log_tail"] = log_tail
    return known


def _tell(node: Node, report: PhaseReport, log_tail: str) -> None:
    severity = "info"
    data: dict[str, Any] = {"phase": report.phase, "state": report.state, "at": report.at}
    if report.state == "failed":
        severity = "warning" if report.phase == _HARDENING else "error"
        data["log_tail"] = log_tail
    _record(node, "node:boot", severity, data)


def _record(node: Node, kind: str, severity: str, data: Mapping[str, Any]) -> None:
    events.record(
        **node.event_place(),
        subject=("node", node.pk),
        kind=kind,
        severity=severity,
        by={"node": str(node.pk)},
        data=data,
    )

"""Capabilities: what a container keeps, and what an author may take from that or ask back."""

from __future__ import annotations

from typing import Final

from deployments.domain.compose.findings import echo, remove
from deployments.domain.compose.nodes import Node
from deployments.domain.compose.rules import Reading, distinct, listing, text

KEPT: Final = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_BIND_SERVICE", "SETGID", "SETUID")
ALL: Final = "ALL"
KNOWN: Final = frozenset(
    [
        "AUDIT_CONTROL",
        "AUDIT_READ",
        "AUDIT_WRITE",
        "BLOCK_SUSPEND",
        "BPF",
        "CHECKPOINT_RESTORE",
        "CHOWN",
        "DAC_OVERRIDE",
        "DAC_READ_SEARCH",
        "FOWNER",
        "FSETID",
        "IPC_LOCK",
        "IPC_OWNER",
        "KILL",
        "LEASE",
        "LINUX_IMMUTABLE",
        "MAC_ADMIN",
        "MAC_OVERRIDE",
        "MKNOD",
        "NET_ADMIN",
        "NET_BIND_SERVICE",
        "NET_BROADCAST",
        "NET_RAW",
        "PERFMON",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYSLOG",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_CHROOT",
        "SYS_MODULE",
        "SYS_NICE",
        "SYS_PACCT",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_RESOURCE",
        "SYS_TIME",
        "SYS_TTY_CONFIG",
        "WAKE_ALARM",
    ]
)


def _name(node: Node, reading: Reading) -> str | None:
    value = text(node, reading)
    if value is None:
        return None
    name = value.upper().removeprefix("CAP_")
    if name == ALL or name in KNOWN:
        return name
    reading.error(
        node,
        "compose.capability",
        f"{echo(value)} is no capability.",
        "Remove it, or correct its name.",
        (remove(node),),
    )
    return None


def _added(node: Node, reading: Reading) -> str | None:
    name = _name(node, reading)
    if name is None or name in KEPT:
        return name
    reading.error(
        node,
        "compose.cap_add",
        f"The capability {name} reaches beyond the container.",
        f"Remove it. Containers have {', '.join(KEPT)}.",
        (remove(node),),
    )
    return None


drop = distinct(listing(_name, "a list of capabilities"))
add = distinct(listing(_added, "a list of capabilities"))


def left(cap_drop: tuple[str, ...], cap_add: tuple[str, ...]) -> tuple[str, ...]:
    """What a container has in the end. `ALL` dropped leaves what is added; a single one dropped is not added back."""
    if ALL in cap_drop:
        return tuple(name for name in KEPT if name in cap_add and name not in cap_drop)
    return tuple(name for name in KEPT if name not in cap_drop)

"""Keeps containers from the cloud's metadata service, which would tell them this machine's user data and more."""

from __future__ import annotations

import logging
import subprocess

CHAIN = "DOCKER-USER"
LINK_LOCAL = "169.254.0.0/16"
TIMEOUT_SECONDS = 5
# Inserted one before the other, so that they stand in the opposite order: name servers of some clouds lie there too.
RULES = (
    ("-d", LINK_LOCAL, "-j", "REJECT"),
    ("-d", LINK_LOCAL, "-p", "tcp", "--dport", "53", "-j", "RETURN"),
    ("-d", LINK_LOCAL, "-p", "udp", "--dport", "53", "-j", "RETURN"),
)

log = logging.getLogger(__name__)


def guard_metadata() -> bool:
    """Refuse containers the link-local addresses. Safe to repeat; what cannot be done is said and stops nobody.

    Docker makes the chain for its users and leaves it alone. The rules stay when the agent ends: containers do too.
    """
    missing = [rule for rule in RULES if not _iptables("--check", CHAIN, *rule)]
    done = [_iptables("--insert", CHAIN, *rule) for rule in missing]
    if all(done):
        return True
    log.warning(
        "Containers here may reach a cloud's metadata service at 169.254.169.254: the chain %s takes no rules. "
        "Install iptables and run the agent as root, or block it elsewhere.",
        CHAIN,
    )
    return False


def _iptables(*words: str) -> bool:
    """Whether iptables did it. It waits for its lock as long as it may."""
    argv = ["iptables", "--wait", str(TIMEOUT_SECONDS - 1), *words]
    try:
        return subprocess.run(argv, capture_output=True, timeout=TIMEOUT_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False

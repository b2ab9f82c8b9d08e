"""Starts a program as an unprivileged account: PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

from scripts import binaries

CAP_DAC_READ_SEARCH = 1 << 2  # linux/capability.h


class UnreachableError(RuntimeError):
    """An unprivileged account cannot get to a directory."""

    code = "install.unreachable"
    retryable = False

    def __init__(self, path: Path, account: str, obstacle: Path):
        self.path, self.account, self.obstacle = path, account, obstacle

    def __str__(self) -> str:
        return (
            f"The account {self.account} cannot reach {self.path}, because {self.obstacle} lets only its owner through."
            f" Move the checkout, run `chmod o+x {self.obstacle}`, or name a running server in DATABASE_URL."
        )


def account() -> pwd.struct_passwd:
    """Whom a server runs as: `postgres` where the machine has it, else `nobody`; whoever we are when not root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError("This machine has neither an account postgres nor nobody.")


def dropped(argv: list[str], *, reach: Path) -> list[str]:
    """The same command as an unprivileged account that can reach the directory `reach`.

    The pid stays that of the program, since setpriv replaces itself. Raises UnreachableError.
    """
    if os.geteuid() != 0:
        return argv
    who = account()
    flags = [f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"]
    return [binaries.find("setpriv"), *flags, *_passage(reach, who.pw_name), "--", *argv]


def ending_with_us(argv: list[str], *, signal_name: str = "KILL") -> list[str]:
    """The same command, ended by the kernel when its parent dies, however that happens.

    For what tests start. It must be the innermost wrapper: a change of account clears the setting (prctl(2)).
    """
    return [binaries.find("setpriv"), "--pdeathsig", signal_name, "--", *argv]


def give(path: Path) -> None:
    """Make `path` the unprivileged account's own, and nobody else's."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if os.geteuid() == 0:
        who = account()
        os.chown(path, who.pw_uid, who.pw_gid)


def _passage(reach: Path, name: str) -> list[str]:
    """Flags that let an account through directories closed to it: /root is 0700, and checkouts lie there.

    The capability also lets the account read every file, so it is given only where there is no way without it.
    """
    obstacle = next((d for d in reach.resolve().parents if d.stat().st_mode & 0o001 == 0), None)
    if obstacle is None:
        return []
    if not _own_capabilities() & CAP_DAC_READ_SEARCH:
        raise UnreachableError(reach, name, obstacle)
    return ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]


def _own_capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return int(effective.split()[1], 16)

"""Finds the programs that the plane is made of, or says which one is missing and how to get it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

SYSTEM_DIRECTORIES = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
POSTGRES_HOMES = "/usr/lib/postgresql"  # Debian keeps initdb and postgres out of PATH, one directory per version


class MissingBinaryError(RuntimeError):
    """A program is not on this machine."""

    code = "install.missing"
    retryable = False

    def __init__(self, name: str):
        self.name = name

    def __str__(self) -> str:
        return f"The program {self.name} is not on this machine. Run `make install` as root, which installs it by name."


def find(name: str) -> str:
    """The absolute path of a program.

    The directories of system programs count too: a login shell without /usr/sbin must not hide dockerd or haproxy.
    Raises MissingBinaryError.
    """
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *SYSTEM_DIRECTORIES)))
    if found is None:
        raise MissingBinaryError(name)
    return found


def find_postgres(name: str) -> str:
    """The path of a PostgreSQL server program, of the newest version that has it. Raises MissingBinaryError."""
    homes = sorted(Path(POSTGRES_HOMES).glob(f"*/bin/{name}"), key=_postgres_version)
    return str(homes[-1]) if homes else find(name)


def _postgres_version(binary: Path) -> int:
    version = binary.parent.parent.name
    return int(version) if version.isdigit() else 0

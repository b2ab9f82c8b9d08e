"""Records of providers that keep theirs in a directory: one writer at a time, old or new after a crash."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from providers.errors import Unavailable


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the directory, so that web and workers see one order of events. Raises Unavailable."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise Unavailable(f"{error.filename or root}: {error.strerror or error}") from error


def write_atomically(path: Path, text: str, *, directory_mode: int = 0o755) -> None:
    """Readers see the old file or the new one, also after a power cut. Readable by the owner only."""
    path.parent.mkdir(mode=directory_mode, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
    fsync(path.parent)


def fsync(directory: Path) -> None:
    """Have the directory's entries on disk."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_tree(directory: Path) -> None:
    """Raises Unavailable with what stayed."""
    try:
        shutil.rmtree(directory)
    except OSError as error:
        raise Unavailable(f"{directory} could not be removed wholly: {error.strerror}") from error

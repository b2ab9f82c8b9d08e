"""Images on the node: pulled by digest, and cleaned up without taking away what rollback or anybody else needs."""

from __future__ import annotations

import json
import queue
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import files
from .containers import Engine
from .faults import ApplyError
from .wire.sealed import RegistryLogin

STALL_SECONDS = 120.0
"""How long a pull may go without any progress. Not how long it may take: large images are large."""
PROGRESS_EVERY_SECONDS = 5.0
MIN_FREE_BYTES = 512 * 1024 * 1024

Progress = Callable[[str], None]


class Images:
    """Pulls what releases need and remembers what it brought. The record lies in the state directory."""

    def __init__(self, engine: Engine, record: Path):
        self._engine = engine
        self._record = record
        self._lock = threading.Lock()

    def missing(self, references: Iterable[str]) -> list[str]:
        """Those that are not here yet, sorted."""
        return sorted(r for r in set(references) if self._engine.image(r) is None)

    def pull(
        self,
        references: Iterable[str],
        logins: Mapping[str, RegistryLogin],
        *,
        progress: Progress,
        cancelled: Callable[[], None],
    ) -> None:
        """Pull these by digest, one after the other, each for as long as it makes progress.

        `cancelled` raises when the apply must end. A pull that is given up goes on in the Engine and does no harm.
        """
        for reference in references:
            self._remember(reference)
            self._pull(reference, _login(logins, reference), progress, cancelled)

    def _pull(
        self, reference: str, login: Mapping[str, str], progress: Progress, cancelled: Callable[[], None]
    ) -> None:
        said: queue.Queue[Mapping[str, Any] | ApplyError | None] = queue.Queue()

        def run() -> None:
            try:
                self._engine.pull(reference, login, said.put)
                said.put(None)
            except ApplyError as error:
                said.put(error)

        threading.Thread(target=run, name="pull", daemon=True).start()
        _follow(reference, said, progress, cancelled)

    def _remember(self, reference: str) -> None:
        """Note that a release brought this image, before it is here: a crash in between must not make it anybody's."""
        with self._lock:
            brought = self._brought()
            if reference not in brought:
                files.replace_json(self._record, {"v": 1, "brought": sorted({*brought, reference})})

    def _brought(self) -> list[str]:
        try:
            return list(json.loads(self._record.read_bytes())["brought"])
        except FileNotFoundError:
            return []

    def clean(self, protected: Collection[str]) -> list[str]:
        """Remove brought images that are neither `protected` (references) nor used by any container; the ones removed.

        What is protected counts by image id, since one image may have several names. Whoever cannot tell what is
        protected must not call this. Raises ApplyError if the Engine does not answer, and then removed nothing.
        """
        with self._lock:
            brought = self._brought()
            used = {row["ImageID"] for row in self._engine.everywhere()}
            kept = used | {found["Id"] for r in protected if (found := self._engine.image(r))}
            doomed = [
                r
                for r in brought
                if r not in protected and ((found := self._engine.image(r)) is None or found["Id"] not in kept)
            ]
            gone = [r for r in doomed if self._engine.remove_image(r)]
            if gone:
                files.replace_json(self._record, {"v": 1, "brought": sorted(set(brought) - set(gone))})
            return gone


def _follow(
    reference: str,
    said: queue.Queue[Mapping[str, Any] | ApplyError | None],
    progress: Progress,
    cancelled: Callable[[], None],
) -> None:
    """Wait for the end of a pull; report now and then; give up when nothing moves. Raises ApplyError."""
    heard = reported = time.monotonic()
    while True:
        cancelled()
        try:
            line = said.get(timeout=0.1)
        except queue.Empty:
            if time.monotonic() - heard > STALL_SECONDS:
                raise ApplyError(
                    "image.stalled", f"Pulling {reference} made no progress for {STALL_SECONDS:.0f} s.", retryable=True
                ) from None
            continue
        if line is None:
            return
        if isinstance(line, ApplyError):
            raise line
        heard = time.monotonic()
        if heard - reported > PROGRESS_EVERY_SECONDS:
            reported = heard
            progress(f"{reference}: {line.get('status', '')} {line.get('progress', '')}".strip())


def _login(logins: Mapping[str, RegistryLogin], reference: str) -> dict[str, str]:
    """The credentials for the reference's own registry, and for no other; empty: without any."""
    host = reference.partition("/")[0]
    login = logins.get(host)
    if login is None:
        return {}
    return {"username": login.username, "password": login.password, "serveraddress": login.host}


def check_space(directory: str, *, min_free_bytes: int = MIN_FREE_BYTES) -> None:
    """Refuse to pull onto a disk that is nearly full: it would take the running release and this agent down with it."""
    free = shutil.disk_usage(directory).free
    if free < min_free_bytes:
        raise ApplyError(
            "disk.full",
            f"Only {free // 10**6} MB are free on the disk of {directory}, and {min_free_bytes // 10**6} MB must be "
            "before a pull. Make room on the node, then release again.",
            retryable=True,
        )

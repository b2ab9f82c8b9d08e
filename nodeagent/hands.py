"""What an apply works with: the node's store, Engine, volumes, images, ports and proxy, made once per agent."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from . import bundles, journals, redaction
from .bundles import Bundle
from .containers import Engine
from .faults import ApplyError
from .images import Images
from .mounts import Mounts
from .overrides import Reservations
from .routes import LOOPBACK, LocalSites, Proxy, Sites
from .store import Store, StoreError
from .wire.errors import SealedError
from .wire.sealed import Sealed, unseal


@dataclass(frozen=True, slots=True)
class Hands:
    """Everything that acts. Safe for several applies at once, each of another environment."""

    store: Store
    engine: Engine
    mounts: Mounts
    images: Images
    reservations: Reservations
    proxy: Proxy
    sites: Sites
    search_path: str

    def bundle(self, environment_id: str, seq: int) -> Bundle:
        """The release's files as values. Raises ApplyError `release.unreadable`."""
        try:
            return bundles.read(environment_id, seq, self.store.release(environment_id, seq))
        except (StoreError, ValueError, KeyError, TypeError) as error:
            raise ApplyError("release.unreadable", f"The files of release {seq} cannot be read: {error}.") from error

    def serving(self, environment_id: str) -> Bundle | None:
        """The release that `current` points to, None if there is none."""
        seq = self.store.current(environment_id)
        return self.bundle(environment_id, seq) if seq else None

    def unseal(self, environment_id: str, seq: int) -> Sealed:
        """The release's secrets, in memory only. Raises ApplyError if they are not for this node and release."""
        node = self.store.node()
        try:
            sealed = unseal(self.store.release(environment_id, seq).sealed, self.store.keys()[1])
        except (SealedError, StoreError) as error:
            raise ApplyError(
                "sealed.unreadable", f"The sealed part of release {seq} does not open: {error}."
            ) from error
        if (sealed.environment_id, sealed.seq, sealed.node_id) != (environment_id, seq, node.node_id if node else ""):
            raise ApplyError("sealed.other", f"The sealed part beside release {seq} belongs to another statement.")
        return sealed

    def redactor(self, environment_id: str, seqs: Iterable[int]) -> redaction.Redactor:
        """Takes out what these releases hold; one whose sealed part does not open has given no container its values."""
        values: list[str] = []
        for seq in set(seqs):
            try:
                values += self.unseal(environment_id, seq).values
            except ApplyError:
                continue
        return redaction.Redactor(values)

    def protected_images(self) -> set[str]:
        """References that no clean-up may take: of each environment the current release's, those of the one that was
        current before, and those of whatever is unfinished. Raises ApplyError where one of them cannot be read."""
        found: set[str] = set()
        for environment_id in self.store.environments():
            for seq in self._kept_releases(environment_id):
                found |= {s.image for s in self.bundle(environment_id, seq).services.values()}
        return found

    def _kept_releases(self, environment_id: str) -> set[int]:
        stories = {
            seq: journals.read(self.store.journal(environment_id, seq)) for seq in self.store.releases(environment_id)
        }
        applied = {seq for seq, story in stories.items() if story.action == "apply"}
        live = sorted(seq for seq in applied if stories[seq].committed)
        unfinished = {seq for seq in applied if not stories[seq].over}
        current = self.store.current(environment_id)
        return unfinished | set(live[-2:]) | ({current} if current else set())


def open_hands(store: Store, *, docker_host: str, proxy_dir: Path, container_ports: range, volume_root: Path) -> Hands:
    """Hands for one agent. Touches neither Docker nor the proxy yet; raises ProxyError if that was never prepared."""
    engine, proxy = Engine(docker_host), Proxy(proxy_dir)
    table = proxy.table()
    return Hands(
        store=store,
        engine=engine,
        mounts=Mounts(volume_root),
        images=Images(engine, store.root / "images.json"),
        reservations=Reservations(engine, container_ports),
        proxy=proxy,
        sites=LocalSites(table.ports, store.root / "environments", table.public_address or LOOPBACK),
        search_path=os.environ.get("PATH") or os.defpath,
    )

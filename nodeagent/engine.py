"""The engine: carries out what the loop has verified, one journaled run at a time for each environment.

See ports.Engine for the promises. The work is in applies (to a release and back), teardowns (down), convergence (plans
carried out) and observations (what is).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from . import applies, containerlogs, hands, journals, observations, routes, teardowns
from .applies import Apply, Patience
from .bundles import Bundle
from .containers import Container
from .convergence import Convergence
from .faults import ApplyError
from .hands import Hands
from .haproxy import ProxyError
from .journals import Story
from .ports import Cancellation, Outcome, Report
from .store import Store
from .teardowns import Action
from .wire.heartbeat import Disk, Observed
from .wire.logs import LogLine

log = logging.getLogger(__name__)
BOOT_PATIENCE_SECONDS = 120.0


def build(
    store: Store, *, docker_host: str, proxy_dir: Path, proxy_ports: range, container_ports: range, volume_root: Path
) -> DockerEngine:
    """The engine of this node. Prepares the proxy's directory if nobody did, and starts nothing."""
    journals.check_test_aids()
    try:
        routes.read_table(proxy_dir)
    except ProxyError:
        routes.prepare(proxy_dir, proxy_ports)
    return DockerEngine(
        hands.open_hands(
            store,
            docker_host=docker_host,
            proxy_dir=proxy_dir,
            container_ports=container_ports,
            volume_root=volume_root,
        )
    )


class DockerEngine:
    """ports.Engine over the Docker Engine, Compose and HAProxy of this machine."""

    def __init__(self, hands: Hands):
        self.hands = hands
        self._tidying: dict[str, threading.Thread] = {}
        self._coming: dict[str, int] = {}
        self._passing: dict[str, set[str]] = {}

    def apply(self, environment_id: str, seq: int, *, cancel: Cancellation, report: Report) -> Outcome:
        """Make `seq` current, or revert."""
        self.settle(environment_id)
        run = Apply(self.hands, environment_id, seq, cancel=cancel, report=report)
        return self._carry_out(environment_id, seq, run, run.run)

    def recover(self, environment_id: str, *, cancel: Cancellation, report: Report) -> Outcome | None:
        """Finish or undo what the newest journal without an end began, then make what is current run.

        Raises ApplyError while Docker does not answer: the loop tries again.
        """
        self.settle(environment_id)
        self.hands.engine.of_environment(environment_id)
        found = self._newest(environment_id)
        if found is None:
            self._bring_up(environment_id)
            return None
        seq, story = found
        if story.over or story.committed:
            self._bring_up(environment_id)
            if not story.over:
                Apply(self.hands, environment_id, seq, cancel=cancel, report=report).close()
            is_told = self.hands.store.receipt(environment_id, seq) is not None
            return None if is_told or story.outcome is None else applies.restored(story.outcome)
        if story.action != "apply":
            action: Action = "retire" if story.action == "retire" else "stop"
            return self.stop(environment_id, seq, action, cancel=cancel, report=report)
        return self._take_up(environment_id, seq, story, cancel, report)

    def _newest(self, environment_id: str) -> tuple[int, Story] | None:
        """The newest sequence with a journal that is not over, or whose outcome was never recorded."""
        store = self.hands.store
        for seq in reversed(store.releases(environment_id)):
            story = journals.read(store.journal(environment_id, seq))
            if story.is_begun and (not story.over or store.receipt(environment_id, seq) is None):
                return seq, story
        return None

    def _take_up(self, environment_id: str, seq: int, story: Story, cancel: Cancellation, report: Report) -> Outcome:
        run = Apply(self.hands, environment_id, seq, cancel=cancel, report=report)
        if story.draft is not None:
            draft = applies.restored(story.draft)
            return self._carry_out(environment_id, seq, run, lambda: run.undo(draft))
        if story.switching:
            return self._carry_out(environment_id, seq, run, lambda: run.finish(story.previous))
        if story.attempts >= journals.MAX_ATTEMPTS:
            return self._carry_out(environment_id, seq, run, run.give_up)
        return self._carry_out(environment_id, seq, run, run.run)

    def _carry_out(self, environment_id: str, seq: int, run: Apply, work: Callable[[], Outcome]) -> Outcome:
        """Do it; what is left to do after a success goes on in a thread, and the next call waits for that."""
        self._coming[environment_id] = seq
        try:
            outcome = work()
        finally:
            self._coming.pop(environment_id, None)
        if run.trailing is not None:
            self._passing[environment_id] = set(run.trailing.old)
            thread = threading.Thread(target=self._tidy, args=(environment_id, run), name=f"tidy-{seq}", daemon=True)
            self._tidying[environment_id] = thread
            thread.start()
        return outcome

    def _tidy(self, environment_id: str, run: Apply) -> None:
        try:
            run.tidy()
        except (ApplyError, ProxyError) as error:
            # The journal says that it is not done; the next apply or start sees to it.
            log.warning("Old containers of %s are not gone yet: %s", environment_id, error)
        finally:
            self._passing.pop(environment_id, None)

    def settle(self, environment_id: str) -> None:
        """Wait until nothing of an earlier success is left to do: its grace and drain are bounded."""
        thread = self._tidying.pop(environment_id, None)
        if thread is not None:
            thread.join()

    def _bring_up(self, environment_id: str) -> None:
        """Make what is current run. What does not become healthy is for observe to tell, not for a boot to end."""
        bundle = self.hands.serving(environment_id)
        if bundle is None:
            return
        way = Convergence(self.hands, bundle, serving=bundle, cancel=Patience(BOOT_PATIENCE_SECONDS))
        try:
            applies.bring_back(self.hands, way, bundle, self.hands.redactor(environment_id, [bundle.seq]))
        except ProxyError as error:
            log.error("Routes of %s: %s", environment_id, error)
        except ApplyError as error:
            if error.code.startswith("docker."):
                raise
            log.error("Release %d of %s does not come up as it was: %s", bundle.seq, environment_id, error.code)

    def stop(self, environment_id: str, seq: int, action: Action, *, cancel: Cancellation, report: Report) -> Outcome:
        """Take the environment down. Not cancelled: half of it would be neither."""
        self.settle(environment_id)
        return teardowns.take_down(self.hands, environment_id, seq, action, report)

    def observe(self, environment_id: str) -> Observed:
        """What runs now, compared with `current`."""
        return observations.observe(
            self.hands,
            environment_id,
            passing=self._passing.get(environment_id, set()),
            also=self._on_its_way(environment_id),
        )

    def _on_its_way(self, environment_id: str) -> Bundle | None:
        seq = self._coming.get(environment_id)
        try:
            return self.hands.bundle(environment_id, seq) if seq else None
        except ApplyError:
            return None

    def read_logs(
        self, environment_id: str, service: str | None, since: str | None, limit: int, cursor: str | None
    ) -> tuple[list[LogLine], str | None]:
        """Lines of the running containers. Raises ApplyError, ValueError for a cursor that is none."""
        return containerlogs.read(
            self.hands.engine,
            [c for c in self.hands.engine.of_environment(environment_id) if _is_told(c, service)],
            since=since,
            limit=limit,
            cursor=cursor,
        )

    def disk(self) -> Disk:
        """Space where Docker keeps its images and containers."""
        return observations.disk(self.hands)


def _is_told(container: Container, service: str | None) -> bool:
    return container.is_up and bool(container.service) and service in (None, container.service)

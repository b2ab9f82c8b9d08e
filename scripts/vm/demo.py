"""`make vm-demo`: the whole path on a machine of its own, and what the data of its volume survives.

Starts a plane, has an agent push and release, and lets the `qemu` provider make the machine: cloud-init boots it into a
node. Then an update, stop and start, a power cut, and another machine in its place; after each, the page must still
show the first line that the volume was ever given. Prints every step with its time. Needs root, and ten minutes where
machines are emulated.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from providers.ports import ServerState
from providers.qemu import QemuProvider
from scripts import clocks, places, ports, samples
from scripts.vm import apps, authority, fronts, images
from scripts.vm.authority import Authority
from scripts.vm.fronts import Front

ENVIRONMENT, SIZE = "vm", "medium"
PLANE_SECONDS = 120
LIVE_SECONDS = 600
PAGE_SECONDS = 400
VOLUME_GB, GROWN_GB = 1, 2
MEGABYTES_OF_A_GB = 900  # what a file system of 10^9 bytes has for files, in units of 2^20


class DemoError(RuntimeError):
    """The demonstration could not go on; what was seen is in the text."""

    code = "vm.demo"
    retryable = False


@dataclass
class Plane:
    """The control plane of one demonstration: its processes, and how it is asked."""

    where: places.Places
    front: Front
    authority: Authority
    clock: clocks.Clock
    _seen: int = 0
    _up: dict[str, Any] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """For the plane and its operator commands: one name for everybody, and the authority behind it."""
        own = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        return own | {
            "SAM_SETTINGS_FILE": str(self.where.settings),
            "SAM_STATE_DIR": str(self.where.state),
            "SAM_PUBLIC_URL": self.front.public_url,
            "SAM_REGISTRY_URL": self.front.registry_url,
            "SAM_CA_FILE": str(self.authority.root),
            "SAM_ALLOWED_HOSTS": f"{fronts.ADDRESS},127.0.0.1,localhost",
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """The plane, until the block ends. Raises DemoError."""
        self.where.up.unlink(missing_ok=True)
        argv = [sys.executable, "-m", "scripts.up", "--no-walk", "--state-dir", str(self.where.state)]
        with (self.where.state / "demo-up.log").open("wb") as log:
            process = subprocess.Popen(argv, cwd=places.CHECKOUT, env=self.environment, stdout=log, stderr=log)
        try:
            wait_for(self.where.up.exists, "the plane", PLANE_SECONDS, meanwhile=lambda: _check_alive(process))
            self._up = places.read_json(self.where.up)
            self._seen = self._rows("select coalesce(max(id), 0) from timeline_event")[0][0]
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)

    def manage(self, *words: str, given: str = "") -> dict[str, Any]:
        """One operator command's JSON answer. Raises DemoError with what it said."""
        done = subprocess.run(
            [sys.executable, "manage.py", *words, "--json"],
            cwd=places.CHECKOUT, env=self.environment, input=given, capture_output=True, text=True, timeout=700,
        )  # fmt: skip
        if done.returncode != 0:
            raise DemoError(f"`manage.py {' '.join(words)}` ended with {done.returncode}: {done.stdout}{done.stderr}")
        answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
        return answer

    def tell_story(self) -> None:
        """Print what the timeline has since the last time, boots, volumes and releases, each with its own time."""
        now = time.time()
        for number, at, kind, data in self._rows(
            "select id, at, kind, data from timeline_event where id > %s order by id", self._seen
        ):
            self._seen = number
            if kind.partition(":")[0] in ("node", "volume", "release", "environment"):
                since = time.monotonic() - self.clock.began - (now - at.timestamp())
                print(f"vm-demo: {since:6.2f} s      {kind} {_short(data)}", flush=True)

    def _rows(self, query: LiteralString, *values: object) -> list[Any]:
        with psycopg.connect(self._up["database_url"], autocommit=True) as connection:
            return connection.execute(query, values).fetchall()


def _short(data: dict[str, Any]) -> str:
    wanted = ("phase", "state", "step", "to", "code", "summary", "log_tail", "sequence", "detail")
    return " ".join(f"{name}={str(data[name])[:300]}" for name in wanted if data.get(name))


@dataclass
class Demonstration:
    """The steps; each raises DemoError where what it promises does not come true."""

    plane: Plane
    provider: QemuProvider
    clock: clocks.Clock
    project: str = field(default_factory=lambda: f"demo-{secrets.token_hex(3)}")
    token: str = ""
    reference: str = ""
    mark: str = field(default_factory=lambda: f"written-once-{secrets.token_hex(4)}")

    @property
    def target(self) -> str:
        return f"{self.project}/{ENVIRONMENT}"

    def begin(self) -> None:
        """To the first release, on a machine that boots for it."""
        self.prepare()
        self.push()
        self.release("v1", size_gb=VOLUME_GB)
        self.see("v1", starts=1)

    def go_on(self) -> None:
        """All that the volume's content has to survive, its growth first."""
        self.release("v2", size_gb=GROWN_GB)
        self.see("v2", starts=2, megabytes=GROWN_GB * MEGABYTES_OF_A_GB)
        self.stop_and_start()
        self.see("v2", starts=3)
        self.cut_power()
        self.see("v2", starts=4)
        self.replace_machine()
        self.see("v2", starts=5)

    def prepare(self) -> None:
        manage = self.plane.manage
        manage("project", "create", self.project)
        manage("environment", "create", self.target, "--gate", "open", "--account", "qemu", "--size", SIZE)
        manage("variable", "set", self.target, "MARK", given=self.mark)
        self.token = manage("agent_token", "create", self.project, "--name", "demo")["token"]
        self.clock.tell(f"project, environment {self.target} on account qemu, a variable, an agent's token")

    def push(self) -> None:
        login = self.ask("POST", "registry-credentials/", b"{}")
        name = f"{login['namespace']}/keeper"
        trust = self.plane.authority.context()
        repository = samples.Repository(login["registry"], name, login["username"], login["password"], trust)
        digest = repository.push(apps.image(), "demo")
        self.reference = f"{login['registry']}/{name}:demo"
        self.clock.tell(f"pushed {self.reference} over TLS: {digest[:19]}...")

    def release(self, version: str, *, size_gb: int) -> None:
        answer = self.ask("POST", "releases/", apps.compose(self.reference, version, size_gb=size_gb))
        self.clock.tell(f"release {answer['sequence']} ({version}, a volume of {size_gb} GB) accepted")
        self.wait_until_live(answer["sequence"])

    def wait_until_live(self, sequence: int) -> None:
        until = time.monotonic() + LIVE_SECONDS
        while True:
            answer = self.ask("GET", f"releases/{sequence}/?wait=2")
            self.plane.tell_story()
            if answer["status"] == "live":
                self.clock.tell(f"release {sequence} is live")
                return
            if answer["status"] in ("failed", "cancelled", "unknown") or time.monotonic() > until:
                raise DemoError(f"release {sequence} is {answer['status']}: {json.dumps(answer, indent=1)}")

    def see(self, version: str, *, starts: int, megabytes: int = 0) -> None:
        """The page: this version, at least so many starts and so much space, and the volume's first line as it was
        written."""
        url = next(route["url"] for route in self.ask("GET", "")["routes"] if route["mode"] == "public")
        page = ""

        def is_right() -> bool:
            nonlocal page
            page = _page(url)
            lines = dict(line.split(": ", 1) for line in page.splitlines() if ": " in line)
            has_started = lines.get("version") == version and len(lines.get("starts", "").split()) >= starts
            return has_started and int(lines.get("megabytes", 0)) >= megabytes

        wait_for(is_right, f"{url} with {version}", PAGE_SECONDS, meanwhile=self.plane.tell_story, words=lambda: page)
        if f"first: {self.mark}" not in page:
            raise DemoError(f"the volume's content is not what was written to it: {page!r}")
        self.clock.tell(f"{url} answers: {' / '.join(page.splitlines())}")

    def stop_and_start(self) -> None:
        self.plane.manage("environment", "stop", self.target)
        self._await_state("stopped")
        if self._servers():
            raise DemoError(f"stopped, and still there: {self._servers()}")
        self.clock.tell("stopped: the machine is given back, the volume is kept")
        self.plane.manage("environment", "start", self.target)
        self._await_state("active")
        self.clock.tell("started again, on a new machine")

    def cut_power(self) -> None:
        server_id = self._servers()[0]
        record = self.provider.machine(server_id)
        record.kill()
        self.clock.tell(f"power of {server_id} cut (kill -9 of its process)")
        wait_for(lambda: self.provider.get_server(server_id).state is ServerState.STOPPED, "the power cut", 10)
        self.provider.power_on(server_id)
        self.clock.tell("power is back")

    def replace_machine(self) -> None:
        server_id = self._servers()[0]
        self.provider.delete_server(server_id)
        self.clock.tell(f"machine {server_id} deleted at the provider, behind the plane's back")
        self.plane.manage("environment", "replace-node", self.target, "--confirm", ENVIRONMENT)
        self.clock.tell("an operator asked for another one")

        def is_another() -> bool:
            return any(each != server_id for each in self._servers())

        wait_for(is_another, "another machine", LIVE_SECONDS, meanwhile=self.plane.tell_story)

    def _await_state(self, state: str) -> None:
        def is_there() -> bool:
            return bool(self.ask("GET", "")["state"] == state)

        wait_for(is_there, f"state {state}", LIVE_SECONDS, meanwhile=self.plane.tell_story)

    def _servers(self) -> list[str]:
        return [path.name for path in (self.plane.where.state / "qemu" / "servers").glob("vm-*")]

    def ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        """One call of the agent API. Raises DemoError for a refusal."""
        headers = {"Authorization": f"Bearer {self.token}"}
        headers["Content-Type"] = "application/json" if body == b"{}" else "application/yaml"
        url = f"{self.plane.front.public_url}/api/v1/environments/{ENVIRONMENT}/{path}"
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.plane.authority.context())
        )
        try:
            with opener.open(urllib.request.Request(url, body, headers, method=method), timeout=90) as answer:
                content: dict[str, Any] = json.load(answer)
                return content
        except urllib.error.HTTPError as refusal:
            with refusal:
                raise DemoError(f"{method} {url}: {refusal.code} {refusal.read().decode()[:2000]}") from None


def wait_for(
    condition: Callable[[], bool],
    what: str,
    seconds: float,
    *,
    meanwhile: Callable[[], None] = lambda: None,
    words: Callable[[], str] = lambda: "",
    pause_seconds: float = 0.5,
) -> None:
    """Raises DemoError with the last words, when the time is over."""
    until = time.monotonic() + seconds
    while not condition():
        meanwhile()
        if time.monotonic() > until:
            raise DemoError(f"{what}: not within {seconds:.0f} s. {words()}")
        time.sleep(pause_seconds)


def _check_alive(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise DemoError(f"the plane ended with {process.returncode}; look at demo-up.log in its state directory")


def _page(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=10) as answer:
            return str(answer.read().decode(errors="replace"))
    except OSError as fault:
        return str(fault)


@contextmanager
def prepared(state: Path, clock: clocks.Clock) -> Iterator[tuple[Plane, QemuProvider]]:
    """A plane that answers at its address, and the provider that it uses; machines that are left are ended."""
    where = places.Places(state)
    where.make()
    image = images.ensure(state / "qemu" / "image")
    clock.tell(f"the machines' image: {image.disk}")
    chosen = ports.keep(where.ports)
    front = Front(*_front_ports(state / "front.json"))
    trusted = authority.make(state, fronts.ADDRESS)
    plane = Plane(where, front, trusted, clock)
    provider = QemuProvider({"directory": str(state / "qemu"), "image": str(image.directory)})
    with ExitStack() as stack:
        stack.callback(_end_machines, provider, state)
        stack.enter_context(fronts.address())
        stack.enter_context(fronts.serving(front, chosen, trusted, state))
        stack.enter_context(plane.running())
        clock.tell(f"the plane answers at {front.public_url}, its registry at {front.registry_url}")
        yield plane, provider


def _front_ports(path: Path) -> tuple[int, int]:
    """Kept, since images are pinned under the registry's address."""
    if not path.exists():
        path.write_text(json.dumps(ports.choose(2)))
    web, registry = json.loads(path.read_text())
    return web, registry


def _end_machines(provider: QemuProvider, state: Path) -> None:
    """Volumes too: nobody releases to this plane again."""
    for path in (state / "qemu" / "servers").glob("vm-*"):
        provider.delete_server(path.name)
    for path in (state / "qemu" / "volumes").glob("vol-*"):
        provider.delete_volume(path.name)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def main(argv: list[str] | None = None) -> int:
    """0 if all of it came true, else 1."""
    parser = argparse.ArgumentParser(prog="make vm-demo", description=__doc__)
    parser.add_argument("--state-dir", type=Path, default=places.CHECKOUT / ".sam" / "vm-demo")
    parser.add_argument("--first-release", action="store_true", help="end after the first release answered")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _stop)
    clock = clocks.Clock("vm-demo")
    try:
        with prepared(options.state_dir.absolute(), clock) as (plane, provider):
            demonstration = Demonstration(plane, provider, clock)
            demonstration.begin()
            if not options.first_release:
                demonstration.go_on()
            clock.tell("all of it came true")
    except (DemoError, RuntimeError, OSError, subprocess.SubprocessError) as fault:
        print(f"vm-demo: {fault}", file=sys.stderr)
        print(f"vm-demo: logs and consoles are in {options.state_dir}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Routes: which public address leads to which container, switched without losing a request.

The table on disk is what should be served; the proxy's files are written from it before the running process is told, so
a proxy that restarts at any moment comes back with the newest targets. `python -m nodeagent.routes init` prepares a
proxy directory, `... serve` is what the proxy's own supervisor runs.
"""

from __future__ import annotations

import argparse
import grp
import hashlib
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from . import files, haproxy
from .haproxy import ProxyError, Slot, Target
from .wire.heartbeat import RouteMode, RouteObserved

DRAIN_SECONDS = 10.0
POLL_SECONDS = 0.05
START_SECONDS = 10.0
DEFAULT_BACKENDS = 128
LOOPBACK = "127.0.0.1"
TABLE, CONFIG, MAP, SUPERVISOR = "table.json", "haproxy.cfg", "places.map", "supervisord.conf"


@dataclass(frozen=True, slots=True)
class Route:
    """One line of routes.json: a container port, and for a public one where it is reached."""

    service: str
    port: int
    mode: RouteMode
    host: str | None
    path: str

    def site(self) -> str:
        """What the route shares its address with: its host, or a site of its own, the same in each release."""
        if self.host is not None:
            return self.host.lower()
        return f"{self.service}:{self.port}{self.path.rstrip('/')}"


def parse(raw: bytes) -> tuple[Route, ...]:
    """The routes of a release's routes.json (already verified)."""
    return tuple(
        Route(r["service"], int(r["port"]), r["mode"], r.get("host"), r.get("path") or "/")
        for r in json.loads(raw or b"[]")
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """One public place (port and path prefix of a site) with the backend that it keeps for life, and its target."""

    environment_id: str
    place: str
    backend: str
    target: Target


@dataclass(frozen=True, slots=True)
class Closing:
    """A slot that gets no new requests any more and waits for those under way."""

    backend: str
    slot: Slot


@dataclass(frozen=True, slots=True)
class Table:
    """What the proxy serves: the listening ports, how many backends there are, and who uses which.

    `public_address` is where people reach a rented node, whose proxy listens at every address and is kept up by the
    machine's service manager; empty on a local one, which listens on loopback under a supervisor of its own.
    """

    ports: range
    backends: int
    entries: tuple[Entry, ...] = ()
    public_address: str = ""

    def names(self) -> list[str]:
        return [f"r{index:03d}" for index in range(1, self.backends + 1)]

    def of(self, environment_id: str) -> tuple[Entry, ...]:
        return tuple(e for e in self.entries if e.environment_id == environment_id)

    def targets(self) -> dict[str, Target]:
        return {e.backend: e.target for e in self.entries}

    def places(self) -> dict[str, str]:
        return {e.place: e.backend for e in self.entries}


def assigned(
    table: Table, environment_id: str, wanted: Mapping[str, int], busy: Collection[str] = ()
) -> tuple[Table, list[Closing]]:
    """The table in which this environment serves `wanted` (place -> loopback port) and nothing else, and the slots
    that are out of use by that. Entries of other environments stay as they are.

    `busy` names backends that are still draining and cannot be given out. Raises ProxyError when none is left.
    """
    before = {e.place: e for e in table.of(environment_id)}
    foreign = [e for e in table.entries if e.environment_id != environment_id]
    taken = {e.backend for e in table.entries} | set(busy)
    free = iter([name for name in table.names() if name not in taken])
    entries: list[Entry] = []
    closing = [Closing(e.backend, e.target.slot) for place, e in sorted(before.items()) if place not in wanted]
    for place, port in sorted(wanted.items()):
        known = before.get(place)
        if known is None:
            entries.append(Entry(environment_id, place, _next(free), Target("a", port)))
        elif known.target.port == port:
            entries.append(known)
        else:
            closing.append(Closing(known.backend, known.target.slot))
            entries.append(replace(known, target=Target(haproxy.other(known.target.slot), port)))
    return replace(table, entries=(*foreign, *entries)), closing


def _next(free: Iterable[str]) -> str:
    for name in free:
        return name
    raise ProxyError(
        "All backends of the route proxy are taken. Retire an environment, or run init with more backends."
    )


class Sites(Protocol):
    """How the hosts of an environment become addresses: loopback ports on a local node, names on a rented one."""

    def place(self, environment_id: str, route: Route) -> str:
        """The key of the proxy's map: unique on the node, ends in "/"."""

    def url(self, environment_id: str, route: Route) -> str:
        """Where people reach the route."""

    def give_back(self, environment_id: str) -> None:
        """The environment will not serve again: its addresses may go to others."""


class LocalSites:
    """One loopback port for each site of an environment, out of the proxy's range, kept across releases."""

    def __init__(self, ports: range, environments_dir: Path, address: str = LOOPBACK):
        self._ports = ports
        self._address = address
        self._root = environments_dir
        self._lock = threading.Lock()

    def place(self, environment_id: str, route: Route) -> str:
        return f"{self._port(environment_id, route.site())}{route.path.rstrip('/')}/"

    def url(self, environment_id: str, route: Route) -> str:
        return f"http://{self._address}:{self._port(environment_id, route.site())}{route.path}"

    def give_back(self, environment_id: str) -> None:
        (self._root / environment_id / "sites.json").unlink(missing_ok=True)

    def _port(self, environment_id: str, site: str) -> int:
        with self._lock:
            path = self._root / environment_id / "sites.json"
            ports = _read_ports(path)
            if ports.get(site) in self._ports:
                return ports[site]
            ports[site] = self._free()
            files.replace_json(path, {"v": 1, "sites": ports})
            return ports[site]

    def _free(self) -> int:
        taken = {port for path in self._root.glob("*/sites.json") for port in _read_ports(path).values()}
        for port in self._ports:
            if port not in taken:
                return port
        raise ProxyError(
            f"All listening ports of the route proxy ({self._ports.start}-{self._ports.stop - 1}) are taken. "
            "Retire an environment, or run init with a larger range."
        )


def _read_ports(path: Path) -> dict[str, int]:
    try:
        return {str(site): int(port) for site, port in json.loads(path.read_bytes())["sites"].items()}
    except FileNotFoundError:
        return {}


class Proxy:
    """The node's one route proxy, by its directory. Methods raise ProxyError."""

    def __init__(self, proxy_dir: Path):
        self.directory = proxy_dir
        self._lock = threading.Lock()
        self._draining: set[str] = set()
        self.runtime = haproxy.Runtime(socket_dir(proxy_dir) / "admin.sock")

    def table(self) -> Table:
        """What should be served. Raises ProxyError where the directory was never prepared."""
        return read_table(self.directory)

    def switch(self, environment_id: str, wanted: Mapping[str, int]) -> list[Closing]:
        """Serve these places from these loopback ports, and no other of this environment. Safe to repeat.

        Answers the slots to `drain`; until then their open requests and connections go on.
        """
        with self._lock:
            table, closing = assigned(self.table(), environment_id, wanted, self._draining)
            write_files(self.directory, table)
            self._assert(table, environment_id)
            self._draining |= {c.backend for c in closing}
            return closing

    def _assert(self, table: Table, environment_id: str) -> None:
        """Make the running proxy serve the table: targets first, then the addresses that lead to them."""
        commands = [c for e in table.of(environment_id) for c in haproxy.activate(e.backend, e.target)]
        now = self.runtime.places(self.directory / MAP)
        self.runtime.tell(commands + haproxy.map_changes(self.directory / MAP, now, table.places()))

    def drain(self, closing: Sequence[Closing], seconds: float = DRAIN_SECONDS) -> None:
        """Wait until nothing is under way in these slots, at most so long; then close what is left."""
        deadline = time.monotonic() + seconds
        while closing and time.monotonic() < deadline:
            open_now = self.runtime.open_sessions()
            if not any(open_now.get((c.backend, c.slot), 0) for c in closing):
                break
            time.sleep(POLL_SECONDS)
        with self._lock:
            used = self.table().targets()
            over = [c for c in closing if used.get(c.backend, Target(haproxy.other(c.slot), 0)).slot != c.slot]
            self.runtime.tell(command for c in over for command in haproxy.close(c.backend, c.slot))
            self._draining -= {c.backend for c in closing}

    def leftovers(self, environment_id: str) -> list[Closing]:
        """Slots opposite to the ones in use: what a crash between switch and drain may have left open."""
        return [Closing(e.backend, haproxy.other(e.target.slot)) for e in self.table().of(environment_id)]

    def differences(self, environment_id: str) -> list[str]:
        """Sentences on where the running proxy differs from the table, for this environment; empty: none."""
        entries = self.table().of(environment_id)
        places, targets = self.runtime.places(self.directory / MAP), self.runtime.targets()
        lost = [f"{e.place} is not served" for e in entries if places.get(e.place) != e.backend]
        moved = [
            f"{e.place} leads to {_port_of(targets.get(e.backend))}, not to port {e.target.port}"
            for e in entries
            if targets.get(e.backend) != e.target
        ]
        return lost + moved

    def ensure_running(self) -> None:
        """Start the proxy's supervisor unless the proxy answers. What is started is no child of the caller."""
        with self._lock:
            if self.runtime.answers():
                return
            is_ours = not self.table().public_address
            if is_ours and not _runs(self.directory / "supervisord.pid", str(self.directory / SUPERVISOR)):
                self.start_supervisor()
            deadline = time.monotonic() + START_SECONDS
            while not self.runtime.answers():
                if time.monotonic() > deadline:
                    raise ProxyError(
                        f"The route proxy is not up after {START_SECONDS:.0f} s. See haproxy.log in {self.directory}."
                    )
                time.sleep(POLL_SECONDS)

    def start_supervisor(self) -> None:
        """Start the supervisor that keeps the proxy up: a daemon, and no child of ours."""
        argv = [sys.executable, "-m", "supervisor.supervisord", "-c", str(self.directory / SUPERVISOR)]
        try:
            subprocess.run(
                argv, check=True, timeout=START_SECONDS, cwd="/", stdin=subprocess.DEVNULL, capture_output=True
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise ProxyError(f"The route proxy's supervisor does not start: {error}. Is it installed?") from error


def observed(sites: Sites, environment_id: str, routes: Iterable[Route]) -> list[RouteObserved]:
    """Routes as they are reported: with the address of the public ones."""
    return [
        RouteObserved(
            service=r.service,
            port=r.port,
            mode=r.mode,
            host=r.host,
            path=r.path,
            url=sites.url(environment_id, r) if r.mode == "public" else None,
        )
        for r in routes
    ]


def _port_of(target: Target | None) -> str:
    return f"port {target.port}" if target else "nothing"


def prepare(proxy_dir: Path, ports: range, backends: int = DEFAULT_BACKENDS, *, public_address: str = "") -> None:
    """Write all files of a proxy directory (0700); the targets of an earlier run stay. Starts nothing."""
    files.make_private_directory(proxy_dir)
    files.make_private_directory(socket_dir(proxy_dir))
    try:
        entries = read_table(proxy_dir).entries
    except ProxyError:
        entries = ()
    table = Table(ports, max(backends, len(entries)), public_address=public_address)
    kept = tuple(e for e in entries if e.backend in table.names() and int(e.place.split("/", 1)[0]) in ports)
    write_files(proxy_dir, replace(table, entries=kept))
    files.replace_file(proxy_dir / SUPERVISOR, _supervisor_text(proxy_dir).encode())


def read_table(proxy_dir: Path) -> Table:
    try:
        stored = json.loads((proxy_dir / TABLE).read_bytes())
    except FileNotFoundError as error:
        raise ProxyError(
            f"{proxy_dir} is no proxy directory. Run `python -m nodeagent.routes init --proxy-dir DIR --ports FROM-TO`."
        ) from error
    entries = tuple(
        Entry(e["environment_id"], e["place"], e["backend"], Target(e["slot"], e["port"])) for e in stored["entries"]
    )
    return Table(range(*stored["ports"]), stored["backends"], entries, stored.get("public_address", ""))


def write_files(proxy_dir: Path, table: Table) -> None:
    """The table, and from it the proxy's configuration and map; each file replaced as a whole."""
    entries = [
        {
            "environment_id": e.environment_id,
            "place": e.place,
            "backend": e.backend,
            "slot": e.target.slot,
            "port": e.target.port,
        }
        for e in table.entries
    ]
    ports = [table.ports.start, table.ports.stop]
    stored = {"v": 1, "ports": ports, "backends": table.backends, "public_address": table.public_address}
    files.replace_json(proxy_dir / TABLE, stored | {"entries": entries})
    files.replace_file(proxy_dir / MAP, haproxy.map_text(table.places()).encode())
    config = haproxy.config_text(
        socket_path=socket_dir(proxy_dir) / "admin.sock",
        map_path=proxy_dir / MAP,
        ports=table.ports,
        backends=table.names(),
        targets=table.targets(),
        owner=_owner(),
        bind="*" if table.public_address else LOOPBACK,
    )
    files.replace_file(proxy_dir / CONFIG, config.encode())


def socket_dir(proxy_dir: Path) -> Path:
    """Where the sockets lie: in the proxy directory, or, where its path is too long for a socket, beside /tmp's."""
    if len(os.fspath(proxy_dir / "supervisor.sock")) <= haproxy.SOCKET_PATH_LIMIT:
        return proxy_dir
    digest = hashlib.sha256(os.fspath(proxy_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sam-proxy-{digest}"


def serve(proxy_dir: Path) -> None:
    """Become the proxy (exec). One that an earlier supervisor left behind is asked to finish its connections."""
    pid_file = proxy_dir / "haproxy.pid"
    program = _program()
    arguments = [program, "-db", "-f", str(proxy_dir / CONFIG)]
    if _runs(pid_file, str(proxy_dir / CONFIG)):
        # It hands over its listening sockets as well, so that no connection falls between the two.
        arguments += ["-x", str(socket_dir(proxy_dir) / "admin.sock"), "-sf", pid_file.read_text().strip()]
    files.replace_file(pid_file, f"{os.getpid()}\n".encode())
    os.execv(program, arguments)  # noqa: S606  the program takes our place, pid and all


def _program() -> str:
    program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise ProxyError("haproxy is not installed. Install the package haproxy.")
    return program


def _owner() -> str | None:
    """The user that the proxy becomes after binding its ports; None where we are not root, or there is none."""
    if os.geteuid() != 0:
        return None
    try:
        pwd.getpwnam("haproxy"), grp.getgrnam("haproxy")
    except KeyError:
        return None
    return "haproxy"


def _runs(pid_file: Path, argument: str) -> bool:
    """Whether the process of this file is alive and was started with this argument (process ids are used again)."""
    try:
        command = Path(f"/proc/{int(pid_file.read_text())}/cmdline").read_bytes()
    except (OSError, ValueError):
        return False
    return argument.encode() in command.split(b"\0")


def _supervisor_text(proxy_dir: Path) -> str:
    """Configuration of the supervisor that keeps the proxy up, apart from everything else that runs here."""
    place, sockets = _escaped(proxy_dir), _escaped(socket_dir(proxy_dir))
    package_root = _escaped(Path(__file__).resolve().parent.parent)
    return f"""\
[supervisord]
logfile = {place}/supervisord.log
logfile_maxbytes = 1MB
logfile_backups = 1
pidfile = {place}/supervisord.pid
identifier = sam-proxy
{"user = root" if os.geteuid() == 0 else ""}

[unix_http_server]
file = {sockets}/supervisor.sock
chmod = 0600

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://{sockets}/supervisor.sock

[program:haproxy]
command = {_escaped(Path(sys.executable))} -m nodeagent.routes serve --proxy-dir {place}
directory = {package_root}
autorestart = true
startsecs = 1
startretries = 1000000
stopwaitsecs = 5
stdout_logfile = NONE
stderr_logfile = {place}/haproxy.log
stderr_logfile_maxbytes = 1MB
stderr_logfile_backups = 1
"""


def _escaped(path: Path) -> str:
    return os.fspath(path).replace("%", "%%")


def free_port(taken: Collection[int], candidates: range) -> int | None:
    """The first port of the range that is not taken and that nobody on this machine listens on."""
    for port in candidates:
        if port not in taken and _is_free(port):
            return port
    return None


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def port_range(text: str) -> range:
    """FROM-TO, both included. Raises ValueError."""
    first, _, last = text.partition("-")
    ports = range(int(first), int(last) + 1)
    if not ports or ports.start < 1 or ports.stop > 65536:
        raise ValueError(f"{text} is no range of ports; write FROM-TO")
    return ports


def main(arguments: Sequence[str] | None = None) -> int:
    """`init` writes a proxy directory, `serve` becomes the proxy. Exit 0 done, 1 refused, 2 usage."""
    parser = argparse.ArgumentParser(prog="python -m nodeagent.routes", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    init = commands.add_parser("init", help="write the files of a proxy directory; starts nothing")
    init.add_argument("--ports", type=port_range, required=True, metavar="FROM-TO")
    init.add_argument("--backends", type=int, default=DEFAULT_BACKENDS)
    init.add_argument("--public", default="", metavar="ADDRESS", help="listen everywhere; people reach it at ADDRESS")
    run = commands.add_parser("serve", help="become the proxy; what its supervisor runs")
    for command in (init, run):
        command.add_argument("--proxy-dir", type=Path, required=True)
    given = parser.parse_args(arguments)
    try:
        if given.command == "init":
            prepare(given.proxy_dir.resolve(), given.ports, given.backends, public_address=given.public)
        else:
            serve(given.proxy_dir.resolve())
    except ProxyError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

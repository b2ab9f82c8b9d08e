"""supervisord, which starts again whatever ends: its configuration, its start, and its answers."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

MARK = "SAM_SUPERVISED"
"""In the environment of all that a supervisor starts, so that what outlives it is found, whoever its parent is now."""


@dataclass(frozen=True, slots=True)
class Program:
    """One supervised process. `stop_seconds` is how long it may take to stop before it is killed."""

    name: str
    argv: list[str]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 8


@dataclass(frozen=True, slots=True)
class Supervisor:
    """One supervisord: where its files are. `mark` tells its processes from those of any other."""

    configuration: Path
    socket: Path
    pid_file: Path
    log: Path
    mark: str

    def write(self, programs: Iterable[Program]) -> None:
        """Its configuration. It starts nothing by itself: who starts it says when."""
        sections = [_SUPERVISOR.format(**self._escaped(), user=_user()), *(self._section(p) for p in programs)]
        self.configuration.touch(mode=0o600)
        self.configuration.write_text("\n".join(sections))

    def start(self, python: Path, *, seconds: float = 15) -> None:
        """Start it as a daemon: Ctrl-C and the end of a terminal, or of us, are not its business.

        Raises TimeoutError with the end of its log.
        """
        argv = [str(python), "-m", "supervisor.supervisord", "-c", str(self.configuration)]
        environment = os.environ | {MARK: self.mark}
        with self.log.open("ab") as log:
            subprocess.run(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd="/", timeout=seconds
            )
        until = time.monotonic() + seconds
        while not self.answers():
            if time.monotonic() > until:
                raise TimeoutError(f"supervisord did not start: {self.log.read_text(errors='replace')[-800:]}")
            time.sleep(0.03)

    def answers(self) -> bool:
        """Whether it is there and takes orders."""
        with suppress(OSError, xmlrpc.client.Error), self._remote() as remote:
            return bool(remote.supervisor.getState()["statename"] == "RUNNING")
        return False

    def start_programs(self, *names: str) -> None:
        """Have these run; those that do already are left alone."""
        with self._remote() as remote:
            for name in names:
                try:
                    remote.supervisor.startProcess(name, False)
                except xmlrpc.client.Fault as fault:
                    if "ALREADY_STARTED" not in fault.faultString:
                        raise

    def stop_programs(self, *names: str) -> None:
        """Tell these to stop, and do not wait."""
        with self._remote() as remote:
            for name in names:
                with suppress(xmlrpc.client.Fault):  # it is not running, or not one of this run's
                    remote.supervisor.stopProcess(name, False)

    def pids(self) -> dict[str, int]:
        """The running programs' pids, by name. Raises OSError if the supervisor is gone."""
        with self._remote() as remote:
            return {row["name"]: row["pid"] for row in remote.supervisor.getAllProcessInfo() if row["pid"]}

    def stop(self, *, seconds: float) -> None:
        """Stop its programs, then it, then whatever of them is left. Never raises; nothing is left after it."""
        with suppress(OSError, xmlrpc.client.Error), self._remote() as remote:
            remote.supervisor.shutdown()
        until = time.monotonic() + seconds
        while time.monotonic() < until and survivors(self.mark):
            time.sleep(0.05)
        kill_survivors(self.mark)
        for leftover in (self.socket, self.pid_file):
            leftover.unlink(missing_ok=True)

    @contextmanager
    def _remote(self) -> Iterator[Any]:
        """What takes orders; the address is ignored, since the transport knows the socket."""
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with closing(transport):
            yield xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)

    def _escaped(self) -> dict[str, str]:
        paths = {"socket": self.socket, "pid_file": self.pid_file, "log": self.log}
        return {name: _escape(str(path)) for name, path in paths.items()}

    def _section(self, program: Program) -> str:
        environment = ",".join(f'{name}="{_escape(value)}"' for name, value in program.environment.items())
        return _PROGRAM.format(
            name=program.name,
            command=_escape(shlex.join(program.argv)),
            directory=_escape(str(program.directory)),
            environment=environment,
            log=_escape(str(self.log.parent / f"{program.name}.log")),
            stop_signal=program.stop_signal,
            stop_seconds=program.stop_seconds,
        )


def survivors(mark: str) -> list[int]:
    """Processes that descend from the supervisor with this mark and are no zombies, the supervisor included.

    PostgreSQL's children write their titles over their environments, so they are not among them; they end with it.
    """
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _pids() if wanted in _environment(pid) and not _is_zombie(pid)]


def kill_survivors(mark: str) -> None:
    """SIGKILL to each of them, until none is left (at most 5 s: one stuck in the kernel cannot be waited for)."""
    until = time.monotonic() + 5
    while (left := survivors(mark)) and time.monotonic() < until:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it ended, or is another account's
        return []


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _user() -> str:
    return "user=root" if os.geteuid() == 0 else ""  # else it warns, at each start, about running as root


def _escape(text: str) -> str:
    return text.replace("%", "%%")


_SUPERVISOR = """\
[supervisord]
logfile={log}
logfile_maxbytes=1MB
logfile_backups=1
loglevel=warn
pidfile={pid_file}
{user}

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""

# startsecs=0: a process counts as running at once, so that one that ends is started again at the next tick (a second)
# and never given up; the usual backoff grows past the five seconds within which everything has to be back.
_PROGRAM = """\
[program:{name}]
command={command}
directory={directory}
environment={environment}
autostart=false
autorestart=true
startsecs=0
stopsignal={stop_signal}
stopwaitsecs={stop_seconds}
killasgroup=true
stdout_logfile={log}
redirect_stderr=true
stdout_logfile_maxbytes=5MB
stdout_logfile_backups=1
"""

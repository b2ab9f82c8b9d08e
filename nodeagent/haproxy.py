"""HAProxy as the node's route proxy: the text of its files, and its runtime socket.

One process serves every environment of the node, and a switch never reloads it: backends are declared in advance, each
with two server slots, and the runtime socket moves a backend from one slot to the other. A reload would close the
upgraded connections of every other environment.
"""

from __future__ import annotations

import csv
import os
import re
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Slot = Literal["a", "b"]

ANSWER_LIMIT_BYTES = 4 * 1024 * 1024
SOCKET_TIMEOUT_SECONDS = 5.0
_SPECIAL = re.compile(r"[\\;\s]")
SOCKET_PATH_LIMIT = 90
"""A unix socket's path ends at 107 bytes, and HAProxy binds a temporary name that is longer than the final one."""

WAS_DISABLED = 0x04
"""Bit of a server's administrative state that stays set for ever once its configuration said "disabled"."""

UNUSED_PORT = 1
"""Stands in the configuration for a slot without a target; the slot is disabled, so nothing connects to it."""

HEADER = """\
# Written by sam-node-agent; changed by it at every route switch, without a reload.
global
    maxconn 2000
    nbthread 1
    hard-stop-after 30s
    # A port that somebody else listens on must be an error: shared, each of us would get a part of the requests.
    noreuseport
    log stderr format short local0 notice
    stats socket {socket} mode 0600 level admin expose-fd listeners
    stats timeout 60s
{owner}
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 300s
    timeout http-request 30s
    timeout http-keep-alive 60s
    timeout tunnel 24h
    timeout client-fin 30s
    option http-keep-alive
    # One that hands over to its successor tells kept connections so with an answer, instead of closing them in between.
    option idle-close-on-response
    option forwardfor
    http-reuse safe
    retries 3
    option redispatch 1
    # A kept connection may be closed by the app in the moment that we use it: such a request is sent again.
    retry-on conn-failure empty-response

frontend sites
{binds}
    http-request del-header X-Forwarded-For
    http-request set-header X-Forwarded-Proto http
    # Only what may be repeated is: a POST whose answer was lost may have been carried out.
    http-request disable-l7-retry if !METH_GET !{{ method HEAD }}
    # The slash at the end makes "/api" match "/api" and "/api/x" and not "/apix".
    http-request set-var-fmt(txn.place) "%[dst_port]%[path]/"
    use_backend %[var(txn.place),map_beg({map})] if {{ var(txn.place),map_beg({map}) -m found }}
    default_backend nowhere

backend nowhere
    http-request return status 404 content-type text/plain string "No release serves this address.\\n"
"""

BACKEND = """
backend {name}
    server a {a}
    server b {b}
"""


class ProxyError(Exception):
    """The proxy cannot be reached, or refused a command. `code` is stable; its supervisor restarts it."""

    code = "routes.proxy"
    retryable = True


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backend sends requests: the slot in use and the loopback port of the container."""

    slot: Slot
    port: int


def other(slot: Slot) -> Slot:
    return "b" if slot == "a" else "a"


def config_text(
    *,
    socket_path: Path,
    map_path: Path,
    ports: range,
    backends: Sequence[str],
    targets: Mapping[str, Target],
    owner: str | None,
    bind: str = "127.0.0.1",
) -> str:
    """The whole configuration, such that a process started from it serves `targets` at once.

    `owner` is the user and group that the process takes on, None to stay as it was started. `bind` is the address that
    it listens at, "*" for every one.
    """
    header = HEADER.format(
        socket=socket_path,
        owner=f"    user {owner}\n    group {owner}\n" if owner else "",
        binds=f"    bind {bind}:{ports.start}-{ports.stop - 1}",
        map=map_path,
    )
    return header + "".join(_backend_text(name, targets.get(name)) for name in backends)


def _backend_text(name: str, target: Target | None) -> str:
    def server(slot: Slot) -> str:
        if target is not None and target.slot == slot:
            return f"127.0.0.1:{target.port}"
        return f"127.0.0.1:{UNUSED_PORT} disabled"

    return BACKEND.format(name=name, a=server("a"), b=server("b"))


def map_text(places: Mapping[str, str]) -> str:
    """The map file: one line per place (port and path prefix) with its backend, in a stable order."""
    return "".join(f"{place} {backend}\n" for place, backend in sorted(places.items()))


def activate(backend: str, target: Target) -> list[str]:
    """Commands that send new requests to the target, and none any more to the other slot.

    The new slot is ready before the old one drains, so there is no moment without a server.
    """
    new, old = f"{backend}/{target.slot}", f"{backend}/{other(target.slot)}"
    return [
        f"set server {new} addr 127.0.0.1 port {target.port}",
        f"set server {new} state ready",
        f"set server {old} state drain",
    ]


def close(backend: str, slot: Slot) -> list[str]:
    """Commands that end a slot: nothing connects to it, and what is still open is closed."""
    return [f"set server {backend}/{slot} state maint", f"shutdown sessions server {backend}/{slot}"]


def map_changes(map_path: Path, now: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Commands from the running map to the wanted one; places that stay are not touched."""
    commands = [f"add map {map_path} {word(p)} {b}" for p, b in sorted(wanted.items()) if p not in now]
    commands += [f"set map {map_path} {word(p)} {b}" for p, b in sorted(wanted.items()) if now.get(p, b) != b]
    commands += [f"del map {map_path} {word(p)}" for p in sorted(now) if p not in wanted]
    return commands


def word(text: str) -> str:
    """One word of a command. A path is the author's: an unescaped `;` in it would begin a command of theirs.

    Source: HAProxy Management Guide 9.3, "Unix Socket commands": `\\` takes `;`, `\\` and white space literally.
    """
    return _SPECIAL.sub(r"\\\g<0>", text)


class Runtime:
    """The runtime socket of the running proxy. Each call is one bounded exchange; raises ProxyError."""

    def __init__(self, socket_path: Path):
        self._path = socket_path

    def answers(self) -> bool:
        """Whether the proxy is up and takes commands."""
        try:
            return bool(self.ask("show version"))
        except ProxyError:
            return False

    def tell(self, commands: Iterable[str]) -> None:
        """Carry out the commands in order, in one exchange. Raises ProxyError if the proxy objects to one of them."""
        line = "; ".join(commands)
        if not line:
            return
        complaints = [said for said in self.ask(line).splitlines() if said.strip() and not _is_harmless(said)]
        if complaints:
            raise ProxyError(f"The route proxy refused a command: {complaints[0]} (sent: {line[:500]}).")

    def places(self, map_path: Path) -> dict[str, str]:
        """The map as the process has it: place -> backend."""
        rows = (line.split(" ", 2) for line in self.ask(f"show map {map_path}").splitlines() if line.strip())
        return {row[1]: row[2] for row in rows if len(row) == 3}

    def open_sessions(self) -> dict[tuple[str, str], int]:
        """(backend, slot) -> requests and upgraded connections that are on their way through it now."""
        rows = csv.DictReader(self.ask("show stat -1 4 -1").lstrip("# ").splitlines())
        return {(row["pxname"], row["svname"]): int(row["scur"] or 0) for row in rows}

    def targets(self) -> dict[str, Target]:
        """backend -> the slot that takes new requests now, with its port; backends without one are left out."""
        found: dict[str, Target] = {}
        for row in _state_rows(self.ask("show servers state")):
            if int(row["srv_op_state"]) > 0 and not int(row["srv_admin_state"]) & ~WAS_DISABLED:
                found[row["be_name"]] = Target("a" if row["srv_name"] == "a" else "b", int(row["srv_port"]))
        return found

    def ask(self, line: str) -> str:
        """One command line and the whole answer."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
                channel.settimeout(SOCKET_TIMEOUT_SECONDS)
                channel.connect(os.fspath(self._path))
                channel.sendall(line.encode() + b"\n")
                return _read_all(channel).decode(errors="replace")
        except OSError as error:
            raise ProxyError(
                f"The route proxy does not answer at {self._path} ({error}). Its supervisor starts it again; "
                "if it stays away, look at haproxy.log beside the socket."
            ) from error


def _is_harmless(said: str) -> bool:
    """Answers that confirm, or say that there was nothing to change."""
    return "no need to change" in said or "changed from" in said or said.startswith("No such session")


def _read_all(channel: socket.socket) -> bytes:
    answer = bytearray()
    while part := channel.recv(65536):
        answer += part
        if len(answer) > ANSWER_LIMIT_BYTES:
            raise OSError("its answer is too long")
    return bytes(answer)


def _state_rows(answer: str) -> Iterable[dict[str, str]]:
    """Rows of `show servers state` (a version line, a line of names behind "# ", then values)."""
    lines = [line for line in answer.splitlines() if line.strip()]
    if len(lines) < 2:
        return
    names = lines[1].lstrip("# ").split()
    for line in lines[2:]:
        yield dict(zip(names, line.split(), strict=False))

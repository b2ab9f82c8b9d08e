"""A Redis server of our own: the queue's nudges and wake-ups. It keeps nothing, since PostgreSQL is the truth."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from scripts import binaries


def write_configuration(path: Path, *, port: int, password: str, directory: Path) -> None:
    """A configuration file, 0600: the password must not be in argv, where every account reads it."""
    lines = [
        "bind 127.0.0.1",
        f"port {port}",
        f"requirepass {password}",
        f'dir "{directory}"',
        'save ""',
        "appendonly no",
        "daemonize no",
        "set-proc-title no",  # the title would be written over its environment, by which it is found
        "maxmemory 64mb",
        "maxmemory-policy noeviction",
        "loglevel warning",
    ]
    path.touch(mode=0o600)
    path.write_text("\n".join(lines) + "\n")


def command(configuration: Path) -> list[str]:
    return [binaries.find("redis-server"), str(configuration)]


def url(port: int, password: str, database: int = 0) -> str:
    return f"redis://:{password}@127.0.0.1:{port}/{database}"


def wait_until_ready(port: int, password: str, *, seconds: float = 10) -> None:
    """Until it answers PING. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not _answers(port, password):
        if time.monotonic() > until:
            raise TimeoutError(f"Redis on port {port} did not answer within {seconds:.0f} s.")
        time.sleep(0.02)


def _answers(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as client:
            client.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2:
                part = client.recv(256)
                if not part:
                    return False
                answer += part
            return answer == b"+OK\r\n+PONG\r\n"
    except OSError:
        return False

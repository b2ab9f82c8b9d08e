"""A PostgreSQL server of our own: made once, started by whoever supervises it, reached on loopback with a password."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from scripts import binaries, privileges

SUPERUSER = "sam"
# Small, since this is one of many on a laptop: the defaults reserve 128 MB and ten workers for jobs nobody runs here.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path may not be longer than 107 bytes, and a checkout's may
    "shared_buffers": "32MB",
    "max_connections": "80",
    "jit": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_worker_processes": "2",
    "max_logical_replication_workers": "0",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "cluster_name": "sam",
}
UNSAFE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}  # for clusters that end with a test run


class DatabaseError(RuntimeError):
    """The server could not be made or did not come up."""

    code = "install.database"
    retryable = False

    def __init__(self, what: str, said: str):
        self.what, self.said = what, said

    def __str__(self) -> str:
        return f"PostgreSQL {self.what}: {self.said.strip() or 'it said nothing'}"


def initialise(cluster: Path, *, password: str) -> None:
    """Make a cluster with one superuser, unless there is one. Takes about a second. Raises DatabaseError."""
    if (cluster / "PG_VERSION").exists():
        return
    privileges.give(cluster)
    with tempfile.NamedTemporaryFile("w", prefix="sam-", suffix=".pw") as secret:
        secret.write(password)
        secret.flush()
        if os.geteuid() == 0:
            os.chown(secret.name, privileges.account().pw_uid, -1)
        argv = [binaries.find_postgres("initdb"), "-D", str(cluster), "-U", SUPERUSER, "-E", "UTF8", "--locale=C.UTF-8"]
        argv += ["--auth=scram-sha-256", f"--pwfile={secret.name}", "--no-sync", "--no-instructions"]
        made = subprocess.run(
            privileges.dropped(argv, reach=cluster), capture_output=True, text=True, timeout=120, cwd="/"
        )
    if made.returncode != 0:
        raise DatabaseError(f"could not make a cluster in {cluster}", made.stderr)


def command(cluster: Path, port: int, *, temporary: bool = False) -> list[str]:
    """What to run in the foreground: the server itself, as an unprivileged account. SIGINT is its fast stop.

    A temporary one does without durability, and ends when its parent does.
    """
    settings = SETTINGS | {"port": str(port)} | (UNSAFE if temporary else {})
    argv = [binaries.find_postgres("postgres"), "-D", str(cluster)]
    argv += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    if temporary:
        argv = privileges.ending_with_us(argv, signal_name="QUIT")
    return privileges.dropped(argv, reach=cluster)


def url(port: int, password: str, database: str) -> str:
    return f"postgres://{SUPERUSER}:{password}@127.0.0.1:{port}/{database}"


def wait_until_ready(server_url: str, *, seconds: float = 30) -> None:
    """Until the server takes a query: it listens for a moment before it does. Raises DatabaseError."""
    import psycopg

    until = time.monotonic() + seconds
    while True:
        try:
            psycopg.connect(server_url, connect_timeout=5).close()
            return
        except psycopg.OperationalError as refusal:
            if time.monotonic() > until:
                raise DatabaseError(f"did not answer within {seconds:.0f} s", str(refusal)) from refusal
            time.sleep(0.05)


def create_database(server_url: str, name: str) -> None:
    """Create a database, unless there is one of that name. `server_url` names another database of the same server."""
    import psycopg
    from psycopg import sql

    with psycopg.connect(server_url, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone()
        if known is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

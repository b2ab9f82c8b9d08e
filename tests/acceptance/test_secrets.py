"""A secret is in the container's configuration and nowhere else."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis
import requests

from tests.acceptance import apps
from tests.acceptance.installation import Installation, Tenant

pytestmark = pytest.mark.acceptance

CANARY = 'c4nary/"q+uote" \u00fcber 7f3a'


def _forms(value: str) -> set[bytes]:
    """The value as programs print it; base64 without its last characters, which depend on what follows."""
    encoded = base64.b64encode(value.encode()).decode().rstrip("=")
    texts = {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value),
        quote(value, safe=""),
        encoded[:-1],
    }
    return {text.encode() for text in texts}


def _found(content: bytes) -> bool:
    return any(form in content for form in _forms(CANARY))


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ")
        except OSError:
            continue  # a process that ended meanwhile


class _Watch:
    """Looks at every command line again and again while something happens."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        while not self._over.wait(0.02):
            self.seen += [line for line in _command_lines() if _found(line)]

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


def _dump(installation: Installation) -> bytes:
    return subprocess.run(
        ["pg_dump", "--inserts", installation.facts["database_url"]], capture_output=True, check=True, timeout=60
    ).stdout


def _decoded(dump: bytes) -> bytes:
    """bytea columns are dumped as hex, which would hide a plain value."""
    return b"\n".join(bytes.fromhex(part.split(b"'")[0].decode()) for part in dump.split(b"'\\x")[1:])


def _files(*roots: Path) -> Iterator[tuple[Path, bytes]]:
    for root in roots:
        for path in root.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 32 * 1024 * 1024:
                yield path, path.read_bytes()


def _answers(tenant: Tenant) -> Iterator[tuple[str, bytes]]:
    base = tenant.path
    paths = [
        "/",
        "/releases/",
        "/releases/1/",
        "/releases/1/manifest/",
        "/releases/1/compose/",
        "/releases/1/events/",
        "/releases/2/",
        "/releases/2/events/",
        "/logs/",
        "/volumes/",
    ]
    for path in paths:
        yield path, tenant.call("GET", base + path).content


def _admin_pages(installation: Installation) -> Iterator[tuple[str, bytes]]:
    admin = installation.facts["admin"]
    session = requests.Session()
    login = session.get(admin["url"] + "login/", timeout=20)
    fields = {
        "username": admin["username"],
        "password": admin["password"],
        "csrfmiddlewaretoken": session.cookies["csrftoken"],
    }
    session.post(login.url, data=fields, headers={"Referer": login.url}, timeout=20)
    index = session.get(admin["url"], timeout=20)
    assert "Log out" in index.text
    import re

    for path in sorted(set(re.findall(r'href="(/admin/[a-z_]+/[a-z_]+/)"', index.text))):
        listed = session.get(installation.url + path + "?", timeout=20)
        yield path, listed.content
        for row in re.findall(rf'href="({re.escape(path)}[^"]+/change/[^"]*)"', listed.text)[:5]:
            yield row, session.get(installation.url + row.replace("&amp;", "&"), timeout=20).content


def test_a_secret_is_in_the_containers_configuration_and_nowhere_else(
    installation: Installation, tenant: Tenant
) -> None:
    with _Watch() as watch:
        tenant.set("secret", "CANARY", CANARY)
        shown = apps.compose(
            tenant.push("web", "v1", apps.page("one")),
            environment={"CANARY": "${CANARY}", "PART": "before-${CANARY}-after"},
            more='command: ["/bin/sh", "-c", "echo told $$CANARY; exec /bin/httpd -f -p 8080 -h /www"]\n',
        )
        tenant.live(shown)
        # A failure snapshots logs and settings as evidence.
        failing = shown.replace(":v1", ":v2")
        tenant.push("web", "v2", apps.page("two", up=False))
        assert tenant.settled(tenant.release(failing))["status"] == "failed"

    [container] = tenant.containers()
    assert f"CANARY={CANARY}" in container.attrs["Config"]["Env"]
    assert CANARY in tenant.page("/cgi-bin/env")

    assert watch.seen == [], "on a command line"
    dump = _dump(installation)
    assert not _found(dump) and not _found(_decoded(dump)), "in the database"
    with redis.Redis.from_url(installation.facts["redis_url"]) as broker:
        assert not any(_found(key + (broker.dump(key) or b"")) for key in broker.keys("*")), "in Redis"
    files = [
        str(path)
        for path, content in _files(installation.state / "log", installation.node_dir, installation.state / "run")
        if _found(content)
    ]
    assert files == [], "in files of the installation or the node"
    assert [path for path, content in _answers(tenant) if _found(content)] == [], "in an answer of the API"
    assert [path for path, content in _admin_pages(installation) if _found(content)] == [], "on an admin page"

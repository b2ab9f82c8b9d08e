"""The app of the demonstration: a page that tells what its volume holds, so that lost data would be seen at once."""

from __future__ import annotations

from pathlib import Path

from scripts import binaries, samples

# `first` is written once in the life of the volume, a line of `starts` at each start: both are shown as they are.
START = """\
#!/bin/sh
set -e
mkdir -p /tmp/www
[ -f /data/first ] || { echo "$MARK" >/data/first.new; sync; mv /data/first.new /data/first; }
echo "$VERSION" >>/data/starts
sync
page=/tmp/www/index.html
echo "version: $VERSION" >$page
echo "first: $(cat /data/first)" >>$page
echo "starts:" $(cat /data/starts) >>$page
set -- $(df -m /data)
shift $(($# - 5))
echo "megabytes: $1" >>$page
exec httpd -f -p 8080 -h /tmp/www
"""
APPLETS = ("sh", "httpd", "wget", "mkdir", "cat", "sleep", "echo", "mv", "sync", "df")

COMPOSE = """\
services:
  web:
    image: {image}
    init: true
    environment:
      VERSION: "{version}"
      MARK: ${{MARK}}
    ports:
      - "8080"
    volumes:
      - data:/data
    healthcheck:
      test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/"]
      interval: 5s
      timeout: 10s
      retries: 6
      start_period: 60s
      start_interval: 1s
    deploy:
      resources:
        limits:
          memory: 64m
volumes:
  data:
    x-sam-size-gb: {size_gb}
"""


def image() -> samples.Image:
    """One static program and the script; `/data` is for everybody, as the volume will be that is filled from it."""
    busybox = Path(binaries.find("busybox")).read_bytes()
    files = samples.Files(
        files={"bin/busybox": (busybox, 0o755), "bin/start": (START.encode(), 0o755)},
        links={f"bin/{name}": "busybox" for name in APPLETS},
        directories={"tmp": 0o1777, "data": 0o777},
    )
    return samples.image([files], Entrypoint=["/bin/start"], User="65532:65532", ExposedPorts={"8080/tcp": {}})


def compose(reference: str, version: str, *, size_gb: int) -> bytes:
    """The Compose file of one release."""
    return COMPOSE.format(image=reference, version=version, size_gb=size_gb).encode()

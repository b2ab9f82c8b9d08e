"""Reading and rendering beside PyYAML's bare C loader, on the same bytes, in the same run, in processor time."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import yaml

from deployments.domain import compose, manifest, renderer
from scripts import places

ENVIRONMENT_ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
DIGEST = "sha256:" + "0" * 64
ROUNDS = 7
BYTES_PER_ROUND = 300_000

SMALL = """\
services:
  web:
    image: registry.example/shop/web:1
    environment:
      - DATABASE_HOST=db
      - DATABASE_NAME=shop
      - DATABASE_USER=shop
      - DATABASE_PASSWORD=${DB_PASSWORD}
    restart: always
    volumes:
      - uploads:/var/lib/shop/uploads
    ports:
      - 3000
  db:
    image: registry.example/shop/db:1
    environment:
      - POSTGRES_DB=shop
      - POSTGRES_USER=shop
      - POSTGRES_PASSWORD=${DB_PASSWORD}
    restart: always
    volumes:
      - data:/var/lib/postgresql/data
    expose:
      - 5432
volumes:
  uploads:
  data:
"""
SERVICE = """\
  service{number}:
    image: registry.example/shop/service-{number}:1.2.{number}
    command: [serve, --port, "3000", --workers, "4"]
    environment:
      MODE: production
      DATABASE_URL: postgres://app:${{DB_PASSWORD}}@db:5432/app
{settings}    ports: ["3000"]
    volumes:
      - data{number}:/var/lib/app
    healthcheck:
      test: [CMD, wget, -q, -O, "-", "http://localhost:3000/healthz"]
      interval: 10s
      retries: 3
    deploy:
      resources:
        limits: {{cpus: "0.5", memory: 256M}}
    restart: unless-stopped
"""


def documents() -> dict[str, bytes]:
    """An accepted document of about 600 bytes, 6 kB and 60 kB."""
    return {"600 B": SMALL.encode(), "6 kB": _services(9, 3), "60 kB": _services(20, 58)}


def _services(services: int, settings: int) -> bytes:
    lines = "".join(f"      SETTING_NUMBER_{number}: value of setting {number}\n" for number in range(settings))
    body = "".join(SERVICE.format(number=number, settings=lines) for number in range(services))
    volumes = "".join(f"  data{number}:\n" for number in range(services))
    return f"services:\n{body}volumes:\n{volumes}".encode()


def hostile() -> dict[str, bytes]:
    """Refused documents of the greatest length, problems included in what is measured."""
    return {name: raw + b"#" * (64 * 1024 - len(raw) - 1) + b"\n" for name, raw in _refused().items()}


def _refused() -> dict[str, bytes]:
    return {
        "unknown keys": b"".join(b"key%d: 1\n" % number for number in range(2400)),
        "duplicate keys": b"a: 1\n" * 2400,
        "open brackets": b"[" * 65_000 + b"\n",
        "raw controls": b"\x01" * 65_000 + b"\n",
        "bind mounts": SMALL.encode() + b"x-a: [" + b"./a:/b, " * 2400 + b"a]\n",
        "ambiguous": b"a: [" + b"yes, " * 4900 + b"no]\n",
    }


def measure() -> dict[str, Any]:
    """Ratios to `yaml.load` with CSafeLoader, and milliseconds of a whole command."""
    found: dict[str, Any] = {}
    per_byte = 0.0
    for name, document in documents().items():
        parsed = compose.parse(document).manifest
        assert parsed is not None
        pinned = manifest.pin(parsed, dict.fromkeys(manifest.images(parsed).values(), DIGEST))
        times = _times(
            {
                "yaml": lambda raw=document: yaml.load(raw, Loader=yaml.CSafeLoader),
                "read": lambda raw=document: _read(raw),
                "render": lambda made=pinned: renderer.render(made, environment_id=ENVIRONMENT_ID, sequence=1),
            },
            repeat=max(3, BYTES_PER_ROUND // len(document)),
        )
        per_byte = times["read"] / len(document)
        found[name] = {
            "bytes": len(document),
            "yaml_ms": round(times["yaml"] * 1e3, 3),
            "read_to_yaml": round(times["read"] / times["yaml"], 2),
            "render_to_yaml": round(times["render"] / times["yaml"], 2),
        }
    found["refused, per byte of the 60 kB file"] = {
        name: round(_times({"read": lambda raw=raw: _answered(raw)}, repeat=3)["read"] / len(raw) / per_byte, 2)
        for name, raw in hostile().items()
    }
    found["compose_check, one file, ms"] = round(_command() * 1e3)
    return found


def _read(document: bytes) -> str:
    parsed = compose.parse(document)
    assert parsed.manifest is not None
    return manifest.digest(parsed.manifest)


def _answered(document: bytes) -> str:
    parsed = compose.parse(document)
    return json.dumps([problem.as_json() for problem in parsed.problems])


def _times(calls: dict[str, Callable[[], object]], *, repeat: int) -> dict[str, float]:
    """The best of some rounds, taken in turns, in seconds of processor time per call."""
    best: dict[str, float] = {}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.process_time()
            for _ in range(repeat):
                call()
            taken = (time.process_time() - started) / repeat
            best[name] = min(best.get(name, taken), taken)
    return best


def _command() -> float:
    """Wall seconds of `manage.py compose_check`, the interpreter's start included: the best of five."""
    taken = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run(
            [sys.executable, str(places.CHECKOUT / "manage.py"), "compose_check", "-"],
            input=SMALL.encode(), stdout=subprocess.DEVNULL, check=True, timeout=60,
        )  # fmt: skip
        taken.append(time.monotonic() - started)
    return min(taken)


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))

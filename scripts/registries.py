"""A CNCF Distribution registry of our own, which asks our token service who may do what."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts import binaries


@dataclass(frozen=True, slots=True)
class TokenService:
    """Whose tokens the registry believes (distribution/docs/configuration: auth.token)."""

    realm: str
    service: str
    issuer: str
    certificate: Path


def write_configuration(
    path: Path, *, port: int, storage: Path, http_secret: str, tokens: TokenService | None = None
) -> None:
    """A configuration file, 0600. Without `tokens` everybody may push and pull: for tests of other things."""
    content: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": True},
            "cache": {"blobdescriptor": "inmemory"},
            "maintenance": {"uploadpurging": {"enabled": True, "age": "24h", "interval": "1h", "dryrun": False}},
        },
        "http": {
            "addr": f"127.0.0.1:{port}",
            "secret": http_secret,
            "headers": {"X-Content-Type-Options": ["nosniff"]},
        },
    }
    if tokens is not None:
        content["auth"] = {
            "token": {
                "realm": tokens.realm,
                "service": tokens.service,
                "issuer": tokens.issuer,
                "rootcertbundle": str(tokens.certificate),
            }
        }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=1))  # JSON is YAML, and needs no library


def command(configuration: Path) -> list[str]:
    return [binaries.find("docker-registry"), "serve", str(configuration)]


def wait_until_ready(port: int, *, seconds: float = 10) -> None:
    """Until it answers on /v2/, be it with 401. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not _answers(port):
        if time.monotonic() > until:
            raise TimeoutError(f"The registry on port {port} did not answer within {seconds:.0f} s.")
        time.sleep(0.02)


def _answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2).close()
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code == 401
    except OSError:
        return False
    return True

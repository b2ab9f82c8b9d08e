"""The configuration of the built-in registry (CNCF Distribution 2.8). Pure: values in, one YAML text out.

Reference: distribution/docs/configuration.md of that version.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

# An upload that a client gave up is removed after a week; the registry looks once a day.
UPLOAD_AGE, UPLOAD_SWEEP = "168h", "24h"


@dataclass(frozen=True, slots=True)
class TlsFiles:
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """`address` is HOST:PORT to listen at; `realm` the URL of our token service as clients reach it.

    Plain HTTP is for loopback; anywhere else `tls` has to be there.
    """

    storage: Path
    address: str
    realm: str
    service: str
    issuer: str
    certificate_bundle: Path
    http_secret: str
    tls: TlsFiles | None = None


def render(settings: RegistrySettings) -> str:
    """The whole file. It holds `http_secret`, so it is written 0600."""
    return yaml.safe_dump(configuration(settings), sort_keys=False)


def configuration(settings: RegistrySettings) -> Mapping[str, Any]:
    return {
        "version": 0.1,
        "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(settings.storage)},
            "cache": {"blobdescriptor": "inmemory"},
            # Releases name images by digest: nothing that was pushed may vanish through the API.
            "delete": {"enabled": False},
            "maintenance": {
                "uploadpurging": {"enabled": True, "age": UPLOAD_AGE, "interval": UPLOAD_SWEEP, "dryrun": False}
            },
        },
        "http": {
            "addr": settings.address,
            "secret": settings.http_secret,
            "headers": {"X-Content-Type-Options": ["nosniff"]},
            **_tls(settings.tls),
        },
        "auth": {
            "token": {
                "realm": settings.realm,
                "service": settings.service,
                "issuer": settings.issuer,
                "rootcertbundle": str(settings.certificate_bundle),
            }
        },
        # A manifest must not make a node fetch layers from an address of the pusher's choice.
        "validation": {"manifests": {"urls": {"deny": [".*"]}}},
        "health": {"storagedriver": {"enabled": True, "interval": "10s", "threshold": 3}},
    }


def _tls(files: TlsFiles | None) -> Mapping[str, Any]:
    if files is None:
        return {}
    return {"tls": {"certificate": str(files.certificate), "key": str(files.key), "minimumtls": "tls1.2"}}


def is_loopback(address: str) -> bool:
    """Whether a listener at this address is out of other machines' reach."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False

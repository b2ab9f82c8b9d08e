"""Which registry this installation uses, and the resolver that goes with it, from the settings."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from urllib.parse import ParseResult

from django.conf import settings

from .builtin import BuiltInRegistry
from .ports import RegistryBackend
from .resolver import OwnRegistry, Resolver


def configured() -> RegistryBackend:
    """The registry that credentials are minted for. The built-in one is the one there is."""
    return built_in()


def built_in() -> BuiltInRegistry:
    return BuiltInRegistry(
        url=_text(settings.REGISTRY_URL).rstrip("/"),
        key_file=Path(settings.REGISTRY_TOKEN_KEY_FILE),
        certificate_file=Path(settings.REGISTRY_TOKEN_CERT_FILE),
    )


def resolver(*, allowed_hosts: Collection[str] = ()) -> Resolver:
    """A resolver that asks the installation's registry and `allowed_hosts` (an environment's allow-list) alone."""
    backend = built_in()
    ca_file: Path | None = getattr(settings, "REGISTRY_CA_FILE", None)
    own = OwnRegistry(backend.host, backend.url, backend.pull_authorization, ca_file)
    return Resolver(own=own, allowed_hosts=allowed_hosts)


def _text(url: str | ParseResult) -> str:
    return url.geturl() if isinstance(url, ParseResult) else url

"""Write the built-in registry's key, certificate and configuration; what is usable already stays as it is."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from registry import distribution, jwts, keys
from registry.errors import KeyUnusable


class Command(BaseCommand):
    help = __doc__ or ""
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--state-dir", type=Path, required=True, help="images and configuration go to DIR/registry")
        parser.add_argument("--port", type=int, required=True, help="the port to listen at")
        parser.add_argument("--address", default="127.0.0.1", help="the address to listen at (default: %(default)s)")
        parser.add_argument(
            "--realm", required=True, help="URL of the token service as clients reach it: .../registry/token"
        )
        parser.add_argument(
            "--tls-certificate", type=Path, help="PEM, with --tls-key: needed at other than loopback addresses"
        )
        parser.add_argument("--tls-key", type=Path, help="PEM")
        parser.add_argument("--json", action="store_true", help="one object with the paths, on the last line")

    def handle(self, *args: Any, **options: Any) -> None:
        home = Path(options["state_dir"]).resolve() / "registry"
        key_file, certificate = Path(settings.REGISTRY_TOKEN_KEY_FILE), Path(settings.REGISTRY_TOKEN_CERT_FILE)
        config = home / "config.yml"
        try:
            changed = keys.ensure(key_file, certificate)
            changed |= keys.write_private(config, self._configuration(home, certificate, options).encode())
        except (KeyUnusable, OSError) as fault:
            raise CommandError(str(fault)) from fault
        self._tell(
            {"config": str(config), "key": str(key_file), "certificate": str(certificate), "changed": changed}, options
        )

    def _configuration(self, home: Path, certificate: Path, options: dict[str, Any]) -> str:
        storage = home / "images"
        storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        return distribution.render(
            distribution.RegistrySettings(
                storage=storage,
                address=f"{options['address']}:{options['port']}",
                realm=options["realm"],
                service=jwts.SERVICE,
                issuer=jwts.ISSUER,
                certificate_bundle=certificate.resolve(),
                http_secret=keys.ensure_text(home / "http.secret"),
                tls=_tls(options),
            )
        )

    def _tell(self, written: dict[str, Any], options: dict[str, Any]) -> None:
        if options["json"]:
            self.stdout.write(json.dumps(written))
        else:
            self.stdout.write(f"{written['config']}: {'written' if written['changed'] else 'as it was'}")


def _tls(options: dict[str, Any]) -> distribution.TlsFiles | None:
    """Raises CommandError for half a pair, and for plain HTTP where others could listen."""
    certificate, key = options["tls_certificate"], options["tls_key"]
    if certificate and key:
        return distribution.TlsFiles(certificate.resolve(), key.resolve())
    if certificate or key:
        raise CommandError("--tls-certificate and --tls-key go together.")
    if not distribution.is_loopback(options["address"]):
        raise CommandError(
            f"{options['address']} is no loopback address: passwords would travel in clear."
            " Give --tls-certificate and --tls-key."
        )
    return None

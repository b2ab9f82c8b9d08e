"""`manage.py rotate_kek`: seal what is stored under a new key-encryption key. Not built yet."""

from __future__ import annotations

from deployments.errors import NotBuiltYet
from deployments.management.operators import Answer, Options, SingleCommand


class Command(SingleCommand):
    help = "Seal what is stored under a new key-encryption key (comes later)."

    def run(self, options: Options) -> Answer:
        raise NotBuiltYet("Rotating the key-encryption key")

"""`manage.py secret`: values that are written, and never read back."""

from __future__ import annotations

from typing import ClassVar

from deployments.management.named_values import NamedValueCommand
from deployments.models import NamedValue


class Command(NamedValueCommand):
    help = "Secrets of an environment: set (from standard input), list, unset."
    kind: ClassVar[str] = NamedValue.SECRET

"""`manage.py variable`: values that configure an environment and are no secrets."""

from __future__ import annotations

from typing import ClassVar

from deployments.management.named_values import NamedValueCommand
from deployments.models import NamedValue


class Command(NamedValueCommand):
    help = "Variables of an environment: set (from standard input), list, unset."
    kind: ClassVar[str] = NamedValue.VARIABLE

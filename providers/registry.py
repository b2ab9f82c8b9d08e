"""Which providers there are: `settings.PROVIDERS` names a class and its options by slug, and nothing else knows one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from django.conf import settings
from django.utils.module_loading import import_string

from providers.errors import InvalidRequest
from providers.ports import ComputeProvider


def slugs() -> list[str]:
    """The providers that an account can be made for."""
    return sorted(settings.PROVIDERS)


def configured(
    slug: str, *, options: Mapping[str, Any] | None = None, credentials: Mapping[str, str] | None = None
) -> ComputeProvider:
    """The provider of that slug. An account's options go before those of the settings.

    Raises InvalidRequest for an unknown slug, and for options or credentials that the class refuses.
    """
    entry = cast("dict[str, Any] | None", settings.PROVIDERS.get(slug))
    if entry is None:
        known = ", ".join(slugs())
        raise InvalidRequest(f"There is no provider {slug!r}", fields={"provider": f"one of {known} is possible"})
    merged = {**entry.get("options", {}), **(options or {})}
    return cast(ComputeProvider, import_string(entry["class"])(merged, credentials or {}))

"""Provider accounts as operators see them: what can be ordered, what holds calls up, and what no row points to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from providers.models import ProviderAccount
from providers.ports import Catalogue

from ..models import Orphan, Survey


def named(name: str) -> dict[str, Any]:
    """An account by its name; one without a row is a provider that needs no credentials."""
    row = ProviderAccount.objects.filter(name=name).first()
    if row is not None:
        return represent(row)
    return {"name": name, "provider": name, "options": {}, "paused": None, "surveyed_at": _surveyed_at(name)}


def represent(row: ProviderAccount) -> dict[str, Any]:
    """Without its credentials: they leave the row only to call the provider."""
    paused = None
    if row.paused_at is not None:
        paused = {"since": row.paused_at.isoformat(), "code": row.paused_code, "message": row.paused_message}
    return {
        "name": row.name,
        "provider": row.slug,
        "options": row.options,
        "paused": paused,
        "surveyed_at": _surveyed_at(row.name),
    }


def price(amount: Decimal | None) -> str | None:
    """Without the zeros that vendors put at its end; two decimals at least."""
    if amount is None:
        return None
    whole, _, decimals = f"{amount.normalize():f}".partition(".")
    return f"{whole}.{decimals.ljust(2, '0')}"


def represent_catalogue(catalogue: Catalogue | None) -> dict[str, Any]:
    """Locations, and sizes with price and date; empty where the provider did not tell."""
    if catalogue is None:
        return {"locations": [], "sizes": [], "as_of": None}
    sizes = [
        {
            "name": size.name,
            "cores": size.cores,
            "memory_mb": size.memory_mb,
            "disk_gb": size.disk_gb,
            "architecture": size.architecture,
            "locations": list(size.locations),
            "monthly_price": price(size.monthly_price),
            "currency": size.currency,
        }
        for size in catalogue.sizes
    ]
    places = [{"name": place.name, "description": place.description} for place in catalogue.locations]
    return {"locations": places, "sizes": sizes, "as_of": catalogue.as_of.isoformat(timespec="seconds")}


def orphans(account: str) -> list[dict[str, str]]:
    """What carries our labels there while no row points to it."""
    rows = Orphan.objects.filter(account=account, gone_at__isnull=True)
    return [
        {
            "kind": row.kind,
            "id": row.resource_id,
            "environment": row.environment_id,
            "resource": row.resource,
            "first_seen_at": row.first_seen_at.isoformat(timespec="seconds"),
        }
        for row in rows
    ]


def _surveyed_at(account: str) -> str | None:
    row = Survey.objects.filter(account=account).first()
    return row.surveyed_at.isoformat() if row and row.surveyed_at else None

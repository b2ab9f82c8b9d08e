"""Routes that nodes call."""

from __future__ import annotations

urlpatterns: list[object] = []

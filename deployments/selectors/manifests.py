"""Stored manifests, read back: what was accepted once is believed, whatever the rules say today."""

from __future__ import annotations

from ..domain import manifest
from ..domain.manifest import Manifest
from ..models import Release


def of(release: Release) -> Manifest:
    """The manifest of a release, from its canonical bytes."""
    return manifest.load(bytes(release.manifest))

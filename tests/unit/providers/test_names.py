"""Walls around the providers: no cloud's name outside, and no framework in what is pure."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CLOUDS = re.compile(r"hetzner|hcloud|scaleway", re.IGNORECASE)
MAY_NAME_THEM = ("providers/", "tests/", "docs/", "requirements/", "sam_project/settings.py", "pyproject.toml")
CODE = (".py", ".html", ".js", ".toml", ".sh", ".yaml", ".yml")

PURE = (
    "ports", "errors", "rules", "idempotent", "operations", "options", "local", "transport", "hetzner", "scaleway",
)  # fmt: skip


def test_no_cloud_is_named_outside_the_providers() -> None:
    """Everything else asks capabilities."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    named = [
        path
        for path in tracked
        if path.endswith(CODE)
        and not path.startswith(MAY_NAME_THEM)
        and (ROOT / path).is_file()
        and CLOUDS.search((ROOT / path).read_text())
    ]

    assert named == []


@pytest.mark.parametrize("module", PURE)
def test_what_is_pure_imports_no_framework(module: str) -> None:
    """In a process of its own, with no settings to import one with."""
    code = (
        f"import sys, providers.{module}; sys.exit(any(m.split('.')[0] in ('django', 'celery') for m in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=False).returncode == 0

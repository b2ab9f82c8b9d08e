"""Where the vendors' schema and recordings are: not part of this repository, named by SAM_TEST_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

_DEFAULT = Path(__file__).resolve().parents[3] / "shared" / "data"


def directory(name: str) -> Path:
    """The directory of that name. Without it the test is skipped with the reason, or fails where CI=true."""
    path = Path(os.environ.get("SAM_TEST_DATA", _DEFAULT)) / name
    if path.is_dir():
        return path
    reason = f"{path} is absent; SAM_TEST_DATA names the directory of vendors' schemas and recordings"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)

"""Every provider keeps the same promises: the contract suite, on this machine and on stand-ins of the clouds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.testing.contract import CloudContract, ProviderContract
from providers.testing.harnesses import FakeHarness, Harness, HetznerHarness, LocalHarness, ScalewayHarness


class TestLocal(ProviderContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Harness:
        return LocalHarness(tmp_path)


class TestHetzner(CloudContract):
    @pytest.fixture
    def harness(self) -> Iterator[FakeHarness]:
        harness = HetznerHarness()
        yield harness
        harness.close()


class TestScaleway(CloudContract):
    @pytest.fixture
    def harness(self) -> Iterator[FakeHarness]:
        harness = ScalewayHarness()
        yield harness
        harness.close()

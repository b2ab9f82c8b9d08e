"""What every test gets. The servers themselves are in tests.services."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def django_db_setup(postgres_url: str, django_db_setup: None) -> None:
    """pytest-django's test database, in a PostgreSQL that runs before it is asked for."""

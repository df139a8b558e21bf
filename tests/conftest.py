from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.gateway.server import Gateway
from tests.postgres import PostgresServer, running_postgres
from tests.running import running_gateway


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway without workers."""
    with running_gateway(tmp_path / "data") as gateway:
        yield gateway


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for all tests."""
    with running_postgres() as server:
        yield server

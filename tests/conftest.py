from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.gateway.server import Gateway
from tests.postgres import PostgresServer, running_postgres
from tests.running import running_gateway
from tests.s3 import KEYS, S3Server, running_s3


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


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3-compatible server for all tests."""
    with running_s3() as server:
        yield server


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The same, with its keys where the farm looks for them."""
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    return s3_server

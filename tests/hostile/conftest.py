from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.gateway import RealGateway, real_gateway


@pytest.fixture
def own_gateway(tmp_path: Path) -> Iterator[RealGateway]:
    """A gateway in a process of its own."""
    with real_gateway(tmp_path) as gateway:
        yield gateway

from collections.abc import Iterator
from pathlib import Path

import pytest

from svdfarm import Client
from tests.running import eventually
from tests.unit.client.running_farm import RunningFarm, running_farm


@pytest.fixture(scope="session")
def farm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFarm]:
    """A gateway and one worker that renders at once."""
    with running_farm(tmp_path_factory.mktemp("farm")) as running:
        running.add_worker()
        with Client(running.address) as client:
            eventually(lambda: [worker for worker in client.workers() if worker.models])
        yield running


@pytest.fixture
def client(farm: RunningFarm) -> Iterator[Client]:
    with Client(farm.address, connect_timeout_s=5) as client:
        yield client


@pytest.fixture
def photo() -> Path:
    return Path(__file__).parents[3] / "examples" / "images" / "rocket.jpg"

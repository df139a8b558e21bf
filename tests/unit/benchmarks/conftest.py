from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from farm.render.load import Model


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    from farm.render.load import load  # torch takes seconds, and the simulation needs none

    cache_dir: Path = tmp_path_factory.mktemp("cache")
    return load("tiny", device="cpu", cache_dir=cache_dir)

from __future__ import annotations

from pathlib import Path

import pytest

from farm.render.load import Model, load


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    cache_dir: Path = tmp_path_factory.mktemp("cache")
    return load("tiny", device="cpu", cache_dir=cache_dir)

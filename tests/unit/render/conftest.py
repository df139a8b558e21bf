from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.load import Model, load
from farm.render.tiny import tiny_folder


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def folder(cache_dir: Path) -> Path:
    return tiny_folder(cache_dir)


@pytest.fixture(scope="session")
def model(folder: Path, cache_dir: Path) -> Model:
    return load("tiny", device="cpu", cache_dir=cache_dir)


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """Smooth colours, edges and grain: 300x200, so that every fit has something to do."""
    y, x = np.mgrid[0:200, 0:300].astype(np.float32)
    colours = np.stack([x / 300, y / 200, (np.sin(x / 20) + 1) / 2], axis=-1)
    colours[60:120, 90:180] = (0.9, 0.2, 0.1)
    grain = np.random.default_rng(7).normal(0, 0.03, colours.shape)
    return Image.fromarray(((colours + grain).clip(0, 1) * 255).astype(np.uint8))


@pytest.fixture(scope="session")
def picture_bytes(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="session")
def small() -> RenderParams:
    """The settings of a clip that takes well under a second."""
    return resolve(
        RenderParams(width_px=64, height_px=64, frame_count=3, step_count=2), TINY, seed=5
    )

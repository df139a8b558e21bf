"""The weights in the package: what they promise, on photographs that training never saw."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import farm.nano
from farm.jobs.params import NANO, NOTES, RenderParams, resolve
from farm.render.engine import Engine
from farm.render.folder import NANO_FOLDER
from farm.render.load import load

IMAGES = Path(__file__).parents[3] / "examples" / "images"
MODEL_CARD = Path(farm.nano.__file__).parent / "MODEL_CARD.md"

Render = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(load("nano", device="cpu"))


@pytest.fixture(scope="module")
def render(engine: Engine) -> Render:
    picture = Image.open(IMAGES / "coffee.png").convert("RGB")

    def frames(**settings: float) -> NDArray[np.float32]:
        wanted = RenderParams(**{"frame_count": 8, **settings})  # type: ignore[arg-type]
        return engine.render(picture, resolve(wanted, NANO, 1)).frames

    return frames


def test_the_weights_are_small_and_the_ones_the_model_card_describes() -> None:
    files = sorted(NANO_FOLDER.rglob("*.safetensors"))
    card = MODEL_CARD.read_text(encoding="utf-8")

    assert sum(file.stat().st_size for file in files) <= 20_000_000
    for file in files:
        name = file.relative_to(NANO_FOLDER).as_posix()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        line = rf"`{re.escape(name)}`, {file.stat().st_size:,} bytes, SHA-256\n`{digest}`"
        assert re.search(line, card), f"{name} is not in the card"


def test_nano_says_what_it_is(engine: Engine) -> None:
    assert engine.model.note == NOTES["nano"]
    assert engine.model.info == NANO
    assert engine.model.provenance.source == "built in"


def test_the_clip_starts_with_the_photograph_and_moves_away_from_it(render: Render) -> None:
    clip = render()
    picture = Image.open(IMAGES / "coffee.png").convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((128, 128))
    original = np.asarray(square) / 255

    errors = [float(np.square(frame - original).mean()) for frame in clip]
    assert -10 * np.log10(errors[0]) > FIRST_FRAME_DB
    assert errors[0] < errors[3] < errors[-1]


def test_motion_grows_with_motion_bucket_id(render: Render) -> None:
    def change(bucket: int) -> float:
        clip = render(motion_bucket_id=bucket)
        return float(np.abs(clip[-1] - clip[0]).mean())

    slow, usual, fast = change(0), change(127), change(255)

    assert slow < usual < fast


# Measured 2026-11 by `make nano-eval`, less a decibel.
FIRST_FRAME_DB = 20.0

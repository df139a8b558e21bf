"""Frames of a clip as thumbnails, whatever the clip is kept as."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from farm.jobs.codec import Codec
from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.encode import encode
from farm.render.sheet import read_frames


@pytest.mark.parametrize("codec", Codec)
def test_thumbnails_of_every_codec_show_the_clip(
    small: RenderParams, tmp_path: Path, codec: Codec
) -> None:
    path = tmp_path / f"clip.{codec.container}"
    params = resolve(dataclasses.replace(small, codec=codec, crf=None), TINY, seed=1)
    levels = np.linspace(0.2, 0.8, 5, dtype=np.float32)[:, None, None, None]
    encode(np.broadcast_to(levels, (5, 64, 96, 3)).astype(np.float32), params, {}, path)

    first, middle, last = read_frames(path, 3)

    assert first.size == middle.size == last.size == (192, 128)
    means = [float(np.asarray(frame).mean()) / 255 for frame in (first, middle, last)]
    assert means == pytest.approx([0.2, 0.5, 0.8], abs=0.01)

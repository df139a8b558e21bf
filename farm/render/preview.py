"""A small picture of a clip that still renders, for whoever watches. Nothing here imports torch."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farm.jobs.params import PREVIEW_LIMIT_BYTES

_QUALITIES = (85, 60, 35)


@dataclass(frozen=True)
class Previews:
    """Who wants to see a clip before it is done."""

    wanted: Callable[[], bool]  # asked after every step
    show: Callable[[bytes], None]  # given a JPEG where it said so, before the step is told


def pick(frame_count: int) -> list[int]:
    """The frames that a preview shows: the first, the middle one and the last."""
    return sorted({0, frame_count // 2, frame_count - 1})


def make_jpeg(frames: NDArray[np.integer[Any]]) -> bytes:
    """The frames (frame, height, width, channel=3), from 0 to 255, side by side.

    At most PREVIEW_LIMIT_BYTES: what would be larger is told more coarsely, then at half the size.
    """
    picture = Image.fromarray(np.concatenate(list(frames.astype(np.uint8)), axis=1))
    while True:
        for quality in _QUALITIES:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=quality)
            if file.tell() <= PREVIEW_LIMIT_BYTES:
                return file.getvalue()
        picture = picture.reduce(2)

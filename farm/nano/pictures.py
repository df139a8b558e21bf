"""Where training's pictures come from: crops of photographs, and drawings made up on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from farm.nano.photographs import Picture, paths, pyramid, read_pyramid

DRAWING_SIDE_PX = 512
# A share of the pictures is drawn: flat colours, sharp edges and text are rare in photographs.
DRAWN_SHARE = 0.12
DRAWING_COUNT = 48


class Pictures:
    """All that training may look at, each picture at falling sizes."""

    def __init__(self, photographs: Sequence[list[Picture]], seed: int = 0) -> None:
        self.photographs = photographs
        rng = np.random.default_rng(seed)
        self.drawings = [pyramid(draw(rng)) for _ in range(DRAWING_COUNT)]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """With the photographs that `farm.nano.photographs.fetch` put into `folder`; 400 MB."""
        return cls([read_pyramid(path) for path in paths(folder)])

    def choose(self, rng: np.random.Generator, side_px: int) -> Picture:
        """A random picture at a random size with both sides at least `side_px`."""
        shelf = self.drawings if rng.random() < DRAWN_SHARE else self.photographs
        while True:
            levels = shelf[int(rng.integers(len(shelf)))]
            fitting = [level for level in levels if min(level.shape[:2]) >= side_px]
            if fitting:
                return fitting[int(rng.integers(len(fitting)))]


def draw(rng: np.random.Generator) -> Image.Image:
    """A made-up picture: a graded or noisy ground with shapes and stripes on it."""
    side = DRAWING_SIDE_PX
    canvas = _ground(rng)
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(3, 28)):
        x, y = rng.integers(-side // 8, side, 2).tolist()
        width, height = rng.integers(side // 40, side // 2, 2).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        box = (x, y, x + width, y + height)
        match rng.integers(5):
            case 0:
                pen.ellipse(box, fill=colour)
            case 1:
                pen.rectangle(box, fill=colour)
            case 2:
                corners = rng.integers(0, side, (rng.integers(3, 6), 2)) / 2 + (x / 2, y / 2)
                pen.polygon([(float(a), float(b)) for a, b in corners], fill=colour)
            case 3:
                step = int(rng.integers(6, 40))
                for offset in range(0, width, step):
                    line = (x + offset, y, x + offset + int(rng.integers(-20, 21)), y + height)
                    pen.line(line, fill=colour, width=max(1, step // 3))
            case _:
                text = "".join(rng.choice(list("SVDfarm0123456789&?"), 6))
                pen.text((x, y), text, fill=colour, font_size=int(rng.integers(18, 90)))
    if rng.random() < 0.3:
        canvas = canvas.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.5, 4))))
    return canvas


def _ground(rng: np.random.Generator) -> Image.Image:
    """Noise with a random slope of its spectrum, from sand to clouds, between two colours."""
    side = DRAWING_SIDE_PX
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None])
    frequency[0, 0] = 1 / side
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / frequency ** rng.uniform(0.6, 2.2)
    noise = np.fft.irfft2(spectrum, (side, side))
    share = ((noise - noise.min()) / np.ptp(noise))[..., None]
    first, second = rng.integers(0, 256, (2, 3))
    return Image.fromarray((first + (second - first) * share).astype(np.uint8))


def crop(
    picture: Picture, height_px: int, rng: np.random.Generator, width_px: int | None = None
) -> Picture:
    """The busiest of three random parts of `picture`, (height, width, 3); a square by default.

    Much of a photograph is sky and blur, from which neither detail nor motion can be learnt.
    """
    width_px = width_px or height_px
    parts = []
    for _ in range(3):
        top = rng.integers(picture.shape[0] - height_px + 1)
        left = rng.integers(picture.shape[1] - width_px + 1)
        parts.append(picture[top : top + height_px, left : left + width_px])
    return max(parts, key=_busyness)


def _busyness(picture: Picture) -> float:
    """The mean difference of neighbouring pixels."""
    return float(np.abs(np.diff(picture.astype(np.int16), axis=1)).mean())


def vary(picture: Picture, rng: np.random.Generator, *, turn: bool = True) -> Picture:
    """Mirrored, turned, its colour channels swapped and its brightness changed, each by chance."""
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
    if turn and rng.random() < 0.2:
        picture = picture.swapaxes(0, 1)
    if rng.random() < 0.3:
        picture = picture[..., rng.permutation(3)]
    if rng.random() < 0.5:
        gain, offset = rng.uniform(0.6, 1.2), rng.uniform(-40, 40)
        picture = np.clip(picture * gain + offset, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(picture)

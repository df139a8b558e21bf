"""Contact sheets: one picture with frames of many clips, and what each was made of."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from farm.jobs.codec import Container
from farm.render import ffmpeg
from farm.render.errors import VideoUnreadable
from farm.render.probe import DECODE_TIMEOUT_S, demux, find_container, read_pictures

_CELL_PX = 192  # a frame's width
_GAP_PX = 6
_LINE_PX = 20
_INK, _FAINT, _PAPER = "#1a1a1a", "#9a1c1c", "#ffffff"


@dataclass(frozen=True)
class Row:
    """One clip of a sheet."""

    title: str
    frames: Sequence[Image.Image] = ()
    problem: str = ""  # why there are no frames


def read_frames(path: Path, count: int) -> list[Image.Image]:
    """`count` frames of a video, evenly spread, the first and the last among them, as thumbnails.

    All of them where it has fewer. Raises VideoUnreadable.
    """
    if find_container(path) is Container.ZIP:
        return _spread([_small(picture) for picture in read_pictures(path)], count)
    small = ["-vf", f"scale={_CELL_PX}:-1", "-pix_fmt", "rgb24"]
    small += ["-f", "image2pipe", "-c:v", "ppm", "pipe:1"]
    reader = ffmpeg.start(
        [*demux(path), *small],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        pictures, said = reader.communicate(timeout=DECODE_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        reader.kill()
        reader.communicate()
        raise VideoUnreadable(f"{path} took over {DECODE_TIMEOUT_S:g} s to decode.") from error
    if reader.returncode:
        raise VideoUnreadable(
            str(ffmpeg.failure(f"{path} does not decode", reader.returncode, said))
        )
    return _spread(list(_pictures(pictures)), count)


def _small(picture: NDArray[np.uint8]) -> Image.Image:
    height, width = picture.shape[:2]
    return Image.fromarray(picture).resize((_CELL_PX, round(height * _CELL_PX / width)))


def _spread(frames: list[Image.Image], count: int) -> list[Image.Image]:
    if len(frames) <= count:
        return frames
    last = len(frames) - 1
    return [frames[round(n * last / max(count - 1, 1))] for n in range(count)]


def _pictures(stream: bytes) -> Iterator[Image.Image]:
    """Those of a stream of PPM files, which all have the first one's size."""
    header = re.match(rb"P6\s(\d+) (\d+)\s255\s", stream)
    if header is None:
        return
    width, height = int(header[1]), int(header[2])
    each = header.end() + 3 * width * height
    for start in range(header.end(), len(stream), each):
        yield Image.frombytes("RGB", (width, height), stream[start : start + 3 * width * height])


def draw(rows: Sequence[Row]) -> Image.Image:
    """A picture of the rows, below each other: a line of text, then the frames."""
    font = ImageFont.load_default(14)
    columns = max((len(row.frames) for row in rows), default=0) or 1
    heights = [max((frame.height for frame in row.frames), default=_LINE_PX) for row in rows]
    width = _GAP_PX + columns * (_CELL_PX + _GAP_PX)
    width = max(width, *(2 * _GAP_PX + round(font.getlength(row.title)) for row in rows))
    height = _GAP_PX + sum(_LINE_PX + height + 2 * _GAP_PX for height in heights)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    top = _GAP_PX
    for row, row_height in zip(rows, heights, strict=True):
        pen.text((_GAP_PX, top), row.title, fill=_INK, font=font)
        top += _LINE_PX
        if not row.frames:
            pen.text((_GAP_PX, top), row.problem, fill=_FAINT, font=font)
        for column, frame in enumerate(row.frames):
            sheet.paste(frame, (_GAP_PX + column * (_CELL_PX + _GAP_PX), top))
        top += row_height + 2 * _GAP_PX
    return sheet

"""Videos as pictures: a contact sheet (a row for each video, its frames beside each other) and a
GIF in which they all play.

    python examples/sheet.py out/*.mp4 --sheet sheet.png --gif clips.gif
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import imageio_ffmpeg
from PIL import Image

GAP_PX = 4


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--sheet", type=Path, help="PNG of every second frame")
    parser.add_argument("--gif", type=Path)
    parser.add_argument("--fps", type=float, default=7)
    options = parser.parse_args()
    clips = [read(path) for path in options.videos]
    if options.sheet:
        tiled([clip[::2] for clip in clips]).save(options.sheet, optimize=True)
    if options.gif:
        moments = [tiled([list(moment)]) for moment in zip(*clips, strict=False)]
        # One palette for all: colours that change from frame to frame would flicker.
        palette = moments[0].quantize(192)
        still = [moment.quantize(palette=palette) for moment in moments]
        # There and back, so that the loop has no jump.
        first, *rest = still + still[-2:0:-1]
        duration_ms = round(1000 / options.fps)
        first.save(options.gif, save_all=True, append_images=rest, duration=duration_ms, loop=0)
    return 0


def read(path: Path) -> list[Image.Image]:
    """The frames of a video."""
    frames = imageio_ffmpeg.read_frames(str(path))
    size = next(frames)["size"]
    return [Image.frombytes("RGB", size, frame) for frame in frames]


def tiled(rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """The pictures in rows; each row is as high as its first."""
    width = max(sum(picture.width + GAP_PX for picture in row) for row in rows) - GAP_PX
    height = sum(row[0].height + GAP_PX for row in rows) - GAP_PX
    canvas = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        left = 0
        for picture in row:
            canvas.paste(picture, (left, top))
            left += picture.width + GAP_PX
        top += row[0].height + GAP_PX
    return canvas


if __name__ == "__main__":
    sys.exit(main())

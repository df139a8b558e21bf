"""What a video file really holds, found by decoding it; no torch is needed."""

from __future__ import annotations

import re
import subprocess
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farm.container.archive import list_pictures
from farm.container.whole import check_whole, recognize
from farm.jobs.codec import Container
from farm.jobs.params import RANGES
from farm.render import ffmpeg
from farm.render.errors import VideoUnreadable

# A clip of 128 frames at 2048x2048 decodes in some seconds on one core.
DECODE_TIMEOUT_S = 120.0

_DEMUXERS = {Container.MP4: "mp4", Container.MOV: "mov", Container.MKV: "matroska"}


@dataclass(frozen=True)
class VideoFacts:
    """A video that was decoded from its first frame to its last."""

    frame_count: int
    width_px: int
    height_px: int
    fps: float | None  # None: pictures, which have no time


def probe_video(path: Path) -> VideoFacts:
    """Decode every frame of a file that `encode` made and say what was found.

    Raises VideoUnreadable.
    """
    container = find_container(path)
    with _readable(path), path.open("rb") as file:
        # Of a Matroska file that was cut, ffmpeg decodes what is left and finds nothing wrong.
        check_whole(file, path.stat().st_size, container)
    if container is Container.ZIP:
        shapes = [picture.shape for picture in read_pictures(path)]
        if len(set(shapes)) != 1:
            raise VideoUnreadable(f"{path} holds pictures of {len(set(shapes))} sizes, not of one.")
        return VideoFacts(len(shapes), width_px=shapes[0][1], height_px=shapes[0][0], fps=None)
    # framecrc prints a header with time base and size, then a line for each decoded frame.
    text = decode(path, ["-map", "0:v:0", "-f", "framecrc", "pipe:1"]).decode(errors="replace")
    base = re.search(r"^#tb 0: (\d+)/(\d+)$", text, re.MULTILINE)
    size = re.search(r"^#dimensions 0: (\d+)x(\d+)$", text, re.MULTILINE)
    frames = [line.split(",") for line in text.splitlines() if line and not line.startswith("#")]
    if base is None or size is None or not frames:
        raise VideoUnreadable(f"{path} decodes to no frame at all. Render it again.")
    ticks = Fraction(sum(int(duration) for _, _, _, duration, *_ in frames), len(frames))
    seconds_per_frame = ticks * Fraction(int(base[1]), int(base[2]))
    if not seconds_per_frame:
        raise VideoUnreadable(f"{path} holds frames that last no time. Render it again.")
    return VideoFacts(
        frame_count=len(frames),
        width_px=int(size[1]),
        height_px=int(size[2]),
        fps=float(1 / seconds_per_frame),
    )


def read_pictures(path: Path) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a zip in order, (height, width, channel), or VideoUnreadable."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        for entry in list_pictures(archive):
            yield _decode_picture(archive, entry)


def _decode_picture(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> NDArray[np.uint8]:
    """Its pixels. Raises ValueError, before they are decoded where they are too many."""
    try:
        with warnings.catch_warnings(), archive.open(entry) as file:
            # Pillow only warns of a decompression bomb; our own limits follow.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file, formats=["PNG"]) as picture:
                for name, size_px in zip(("width_px", "height_px"), picture.size, strict=True):
                    if size_px > RANGES[name].high:
                        raise ValueError(f"{name} is {size_px}, above {RANGES[name].high:g}")
                return np.asarray(picture.convert("RGB"))
    except Exception as error:  # Pillow's decoders raise anything on broken files
        raise ValueError(f"its picture {entry.filename!r}: {error}") from error


def decode(path: Path, output: list[str]) -> bytes:
    """What ffmpeg writes to its stdout, by the arguments `output`, of a video that it decodes.

    Raises VideoUnreadable.
    """
    process = ffmpeg.start(
        [*demux(path), *output],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, said = process.communicate(timeout=DECODE_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        process.kill()
        process.communicate()
        raise VideoUnreadable(f"{path} took over {DECODE_TIMEOUT_S:g} s to decode.") from error
    if process.returncode:
        raise VideoUnreadable(
            str(ffmpeg.failure(f"{path} does not decode", process.returncode, said))
        )
    return bytes(out)


def demux(path: Path) -> list[str]:
    """Ffmpeg's arguments that read a video. Its format is named, so that no file picks another
    reader: a playlist would make ffmpeg open what it lists. The first error ends it.

    Raises VideoUnreadable.
    """
    container = find_container(path)
    if container not in _DEMUXERS:
        raise VideoUnreadable(f"{path} is a {container}, and no video.")
    return ["-nostdin", "-xerror", "-f", _DEMUXERS[container], "-i", f"file:{path.absolute()}"]


def find_container(path: Path) -> Container:
    """The kind of a file, or VideoUnreadable."""
    with _readable(path):
        return recognize(path)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, RuntimeError, OSError, EOFError, ValueError) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise VideoUnreadable(f"{path} does not decode: {told}.") from error

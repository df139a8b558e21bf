"""Two videos of one codec, sample by sample as the codec keeps them."""

from __future__ import annotations

import math
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farm.jobs.codec import Codec
from farm.render import ffmpeg
from farm.render.errors import VideoUnreadable
from farm.render.probe import VideoFacts, demux, read_pictures


@dataclass(frozen=True)
class Samples:
    """What a decoder gives, without a conversion."""

    pixels: str  # ffmpeg's pix_fmt
    bits: int
    per_pixel: float


_SAMPLES: Mapping[Codec, Samples] = {
    Codec.H264: Samples("yuv420p", 8, 1.5),
    Codec.H265: Samples("yuv420p10le", 10, 1.5),
    Codec.AV1: Samples("yuv420p10le", 10, 1.5),
    Codec.PRORES: Samples("yuv444p12le", 12, 3),
    Codec.FFV1: Samples("rgb24", 8, 3),
    Codec.PNG: Samples("rgb24", 8, 3),
}


@dataclass(frozen=True)
class Comparison:
    """How near two videos are; infinite dB is identical."""

    psnr_db: float  # over all samples of all frames
    worst_frame: int  # counted from 0
    worst_psnr_db: float

    @property
    def identical(self) -> bool:
        """Whether every sample of every frame is equal."""
        return math.isinf(self.psnr_db)


def compare(left: Path, right: Path, codec: Codec, facts: VideoFacts) -> Comparison:
    """Compare two videos of one codec and of the same frame count and size.

    Raises VideoUnreadable.
    """
    pairs = zip(_frames(left, codec, facts), _frames(right, codec, facts), strict=True)
    peak = 2 ** _SAMPLES[codec].bits - 1
    errors = [float(np.mean((one.astype(np.float32) - other) ** 2)) for one, other in pairs]
    worst = int(np.argmax(errors))
    return Comparison(_psnr(float(np.mean(errors)), peak), worst, _psnr(errors[worst], peak))


def _psnr(mean_square: float, peak: int) -> float:
    return 10 * math.log10(peak**2 / mean_square) if mean_square else math.inf


def _frames(path: Path, codec: Codec, facts: VideoFacts) -> Iterator[NDArray[Any]]:
    """Each frame's samples, in one row."""
    if codec is Codec.PNG:
        yield from (picture.reshape(-1) for picture in read_pictures(path))
        return
    samples = _SAMPLES[codec]
    dtype = np.uint8 if samples.bits == 8 else np.dtype("<u2")
    frame_bytes = (
        int(facts.width_px * facts.height_px * samples.per_pixel) * np.dtype(dtype).itemsize
    )
    output = ["-map", "0:v:0", "-f", "rawvideo", "-pix_fmt", samples.pixels, "pipe:1"]
    with tempfile.TemporaryFile() as said:
        process = ffmpeg.start(
            [*demux(path), *output], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        )
        try:
            assert process.stdout is not None
            with process.stdout as pipe:
                while data := pipe.read(frame_bytes):
                    yield np.frombuffer(data, dtype)
        finally:
            process.kill()  # where nobody reads on; an ended one does not mind
            code = process.wait()
        if code:
            said.seek(0)
            raise VideoUnreadable(str(ffmpeg.failure(f"{path} does not decode", code, said.read())))

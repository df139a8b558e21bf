"""What each codec is to ffmpeg: encoder, pixels, colours and container.

The same frames give the same file on every machine: encoders choose by the number of processors
how they cut the work up, and some decide otherwise then, so that the numbers are fixed here.
benchmarks/results/codecs.json has what each costs and keeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from farm.jobs.codec import Codec

# BT.709 in limited range, converted and tagged: players take untagged files for either matrix.
# accurate_rnd: without it the conversion itself is off by a tenth of a level. setparams: what is
# told to the encoder alone is overruled by what the frames say of themselves.
_TAGS = "setparams=color_primaries=bt709:color_trc=bt709"
_BT709 = ("-vf", f"scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd,{_TAGS}")
# The frames as they are: of the same primaries and curve, without a matrix.
_RGB = ("-vf", f"{_TAGS}:colorspace=gbr:range=pc")
_THREADS = ("-threads", "4")


@dataclass(frozen=True)
class VideoFormat:
    """How ffmpeg is told to keep frames."""

    encoder: tuple[str, ...]
    pixels: str  # ffmpeg's pix_fmt
    colours: tuple[str, ...]
    muxer: str

    def arguments(self, crf: int | None) -> list[str]:
        """All that decides the file, between the input and the metadata."""
        quality = () if crf is None else ("-crf", str(crf))
        pixels = ("-pix_fmt", self.pixels)
        return [*self.encoder, *quality, *pixels, *self.colours]


# All but PNG, which is no video to ffmpeg.
FORMATS: Mapping[Codec, VideoFormat] = {
    # 4:2:0 in 8 bits, the only one that every browser decodes.
    Codec.H264: VideoFormat(
        ("-c:v", "libx264", "-preset", "medium", *_THREADS), "yuv420p", _BT709, "mp4"
    ),
    # hvc1: Apple's players take no hev1.
    Codec.H265: VideoFormat(
        (
            *("-c:v", "libx265", "-preset", "medium", "-tag:v", "hvc1"),
            *("-x265-params", "frame-threads=2:pools=4:log-level=error"),
        ),
        "yuv420p10le",
        _BT709,
        "mp4",
    ),
    Codec.AV1: VideoFormat(
        ("-c:v", "libsvtav1", "-preset", "8", "-svtav1-params", "lp=2"),
        "yuv420p10le",
        _BT709,
        "mp4",
    ),
    # apl0: editors take files of unknown makers for second-rate.
    Codec.PRORES: VideoFormat(
        ("-c:v", "prores_ks", "-profile:v", "4444", "-vendor", "apl0", *_THREADS),
        "yuv444p10le",
        _BT709,
        "mov",
    ),
    # Version 3 with checksums, every frame a key frame, as archives keep it.
    Codec.FFV1: VideoFormat(
        (
            *("-c:v", "ffv1", "-level", "3", "-g", "1", "-slices", "4", "-slicecrc", "1"),
            *_THREADS,
            *("-fflags", "+bitexact"),  # else Matroska's names of its parts are drawn
        ),
        "bgr0",
        _RGB,
        "matroska",
    ),
}

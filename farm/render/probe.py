"""What a video file really holds, found by decoding it; no torch is needed."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from farm.render import ffmpeg
from farm.render.errors import VideoUnreadable

# A clip of 128 frames at 2048x2048 decodes in some seconds on one core.
DECODE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class VideoFacts:
    """A video that was decoded from its first frame to its last."""

    frame_count: int
    width_px: int
    height_px: int
    fps: float


def probe_video(path: Path) -> VideoFacts:
    """Decode every frame of an MP4 and say what was found, or raise VideoUnreadable."""
    # framecrc prints a header with time base and size, then a line for each decoded frame.
    text = _ffmpeg(path, ["-map", "0:v:0", "-f", "framecrc", "pipe:1"])
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


def read_receipt(path: Path) -> dict[str, Any]:
    """The receipt in a video's comment, as it was given to `encode`, or VideoUnreadable."""
    text = _ffmpeg(path, ["-f", "ffmetadata", "pipe:1"])
    # ffmpeg's metadata format puts a backslash before = ; # \ and a newline.
    comment = re.search(r"^comment=((?:\\.|[^\\\n])*)", text, re.MULTILINE | re.DOTALL)
    try:
        receipt = json.loads(
            re.sub(r"\\(.)", r"\1", comment[1], flags=re.DOTALL) if comment else ""
        )
    except ValueError as error:
        raise VideoUnreadable(
            f"{path} carries no receipt. Only videos that this farm encoded do, and other programs "
            "may drop it when they copy one."
        ) from error
    if not isinstance(receipt, dict):
        raise VideoUnreadable(f"{path} has a comment that is not a receipt: {receipt!r:.80}.")
    return receipt


def _ffmpeg(path: Path, output: list[str]) -> str:
    """What ffmpeg prints about an MP4. The format is named, so that no file picks another reader
    (a playlist would make ffmpeg open what it lists), and the first error ends it.
    """
    process = ffmpeg.start(
        ["-nostdin", "-xerror", "-f", "mp4", "-i", f"file:{path.absolute()}", *output],
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
    return out.decode(errors="replace")

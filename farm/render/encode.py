"""Frames to files: an H.264 MP4 that says what it was made from, or lossless PNGs."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farm.jobs.params import Codec, RenderParams
from farm.render import ffmpeg
from farm.render.errors import ParamsRejected

# BT.709 in limited range, converted and tagged: players take untagged files for either matrix.
# accurate_rnd: without it the conversion itself is off by a tenth of a level.
COLOURS = (
    *("-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=bicubic+accurate_rnd"),
    *("-colorspace", "bt709", "-color_primaries", "bt709"),
    *("-color_trc", "bt709", "-color_range", "tv"),
)


def encode(
    frames: NDArray[np.float32], params: RenderParams, receipt: Mapping[str, Any], path: Path
) -> None:
    """Write frames (frame, height, width, channel) in [0, 1] as the video `path`.

    It plays at playback_fps and carries `receipt` as JSON in its comment. The file appears whole,
    under its own name, or not at all. Blocks while a process of its own encodes; call it in a
    thread to go on rendering.

    Raises EncoderMissing, DiskFull, EncodeFailed.
    """
    if params.playback_fps is None or params.crf is None or params.codec is None:
        raise ParamsRejected(
            "playback_fps, crf or codec is not set. Fill in the defaults with "
            "farm.jobs.params.resolve."
        )
    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    source += ["-framerate", str(params.playback_fps), "-i", "pipe:0"]
    # ASCII JSON: the metadata of an MP4 has no encoding that every reader agrees on.
    comment = ["-metadata", f"comment={json.dumps(receipt, sort_keys=True)}"]
    with _whole_file(path) as partial:
        target = ["-movflags", "+faststart", "-f", "mp4", "-y", f"file:{partial}"]
        _run([*source, *_codec(params.codec, params.crf), *comment, *target], frames, path)


def write_frames(frames: NDArray[np.float32], directory: Path) -> list[Path]:
    """Write frames as directory/00000.png and so on: lossless, and diffusers' own 8-bit values."""
    paths = []
    directory.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(frames):
        path = directory / f"{index:05d}.png"
        with _whole_file(path) as partial:
            Image.fromarray(to_8_bit(frame)).save(partial, format="PNG")
        paths.append(path)
    return paths


def to_8_bit(frame: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[0, 1] to 0 .. 255, rounded (VaeImageProcessor.numpy_to_pil); truncation darkens by half."""
    return (frame * 255).round().astype(np.uint8)


def _codec(codec: Codec, crf: int) -> list[str]:
    match codec:
        case Codec.H264:
            # 4:2:0, the only chroma that every browser decodes.
            how = ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf), "-pix_fmt", "yuv420p"]
            return [*how, *COLOURS]
    assert_never(codec)


def _run(arguments: list[str], frames: NDArray[np.float32], path: Path) -> None:
    # A file, not a pipe, for stderr: nobody reads it while we write, and a full pipe would block.
    with tempfile.TemporaryFile() as said:
        process = ffmpeg.start(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            assert process.stdin is not None
            with process.stdin as pipe:
                for frame in frames:
                    pipe.write(to_8_bit(frame).tobytes())
        except BrokenPipeError:
            # It ended early; why is in its code and its last words.
            pass
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        if code:
            said.seek(0)
            raise ffmpeg.failure(f"{path} could not be encoded", code, said.read())


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; on success it becomes `path`, on failure it is removed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ffmpeg.disk_failure(path, error) from error
    try:
        yield partial
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ffmpeg.disk_failure(path, error) from error
    finally:
        partial.unlink(missing_ok=True)

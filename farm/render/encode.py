"""Frames to files: a video, or a zip of pictures, that says what it was made from."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from farm.container.archive import RECEIPT_NAME
from farm.jobs.codec import Codec
from farm.jobs.params import CRF_RANGES, RenderParams
from farm.render import ffmpeg
from farm.render.codecs import FORMATS
from farm.render.errors import ParamsRejected

# Of all files in a zip, so that the same frames give the same bytes; a zip knows no earlier time.
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


def encode(
    frames: NDArray[np.float32], params: RenderParams, receipt: Mapping[str, Any], path: Path
) -> None:
    """Write frames (frame, height, width, channel) in [0, 1] as the video `path`.

    It plays at playback_fps and carries `receipt` as JSON: in its comment, or in a zip as
    receipt.json. The file appears whole, under its own name, or not at all. Blocks while a process
    of its own encodes; call it in a thread to go on rendering.

    Raises EncoderMissing, DiskFull, EncodeFailed.
    """
    codec = params.codec
    if (
        params.playback_fps is None
        or codec is None
        or (params.crf is None) == (codec in CRF_RANGES)
    ):
        raise ParamsRejected(
            "playback_fps, crf or codec is not set. Fill in the defaults with "
            "farm.jobs.params.resolve."
        )
    # ASCII JSON: the metadata of an MP4 has no encoding that every reader agrees on.
    told = json.dumps(receipt, sort_keys=True)
    with _whole_file(path) as partial:
        if codec is Codec.PNG:
            _write_zip(frames, told, partial)
            return
        height, width = frames.shape[1:3]
        source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        source += ["-framerate", str(params.playback_fps), "-i", "pipe:0"]
        how = FORMATS[codec]
        target = ["-metadata", f"comment={told}", "-movflags", "+faststart", "-f", how.muxer]
        _run([*source, *how.arguments(params.crf), *target, "-y", f"file:{partial}"], frames, path)


def to_8_bit(frame: NDArray[np.float32]) -> NDArray[np.uint8]:
    """[0, 1] to 0 .. 255, rounded (VaeImageProcessor.numpy_to_pil); truncation darkens by half."""
    return (frame * 255).round().astype(np.uint8)


def _write_zip(frames: NDArray[np.float32], receipt: str, path: Path) -> None:
    """00000.png and so on, lossless, and the receipt."""
    with zipfile.ZipFile(path, "w") as archive:  # stored: a PNG is compressed
        for index, frame in enumerate(frames):
            picture = Image.fromarray(to_8_bit(frame))
            with archive.open(zipfile.ZipInfo(f"{index:05d}.png", _ZIP_TIME), "w") as file:
                picture.save(file, format="PNG")
        archive.writestr(zipfile.ZipInfo(RECEIPT_NAME, _ZIP_TIME), receipt)


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

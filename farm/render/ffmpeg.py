"""The one ffmpeg that the farm starts: imageio-ffmpeg's binary, which pip brings along."""

from __future__ import annotations

import errno
import functools
import os
import subprocess
from pathlib import Path

import imageio_ffmpeg  # type: ignore[import-untyped]

from farm.render.errors import DiskFull, EncodeFailed, EncoderMissing

NO_SPACE = "No space left on device"  # strerror(ENOSPC), which ffmpeg prints

# The AV1 encoder's own loglevel: it would print its settings, and hide what went wrong.
_QUIET = {"SVT_LOG": "1"}

# How much of what ffmpeg said goes into an error.
LAST_LINES = 12


def binary() -> str:
    """The path of ffmpeg, or EncoderMissing."""
    try:
        path: str = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise EncoderMissing(_missing(str(error))) from error
    return path


def version() -> str:
    """What ffmpeg calls itself, or EncoderMissing."""
    return _version(binary())


@functools.cache
def _version(path: str) -> str:
    try:
        said = subprocess.run([path, "-version"], capture_output=True, text=True).stdout
    except OSError as error:
        raise EncoderMissing(_missing(f"{path}: {error.strerror}")) from error
    words = said.split(maxsplit=3)
    return words[2] if words[:2] == ["ffmpeg", "version"] else "unknown"


def start(arguments: list[str], **pipes: object) -> subprocess.Popen[bytes]:
    """An ffmpeg process of its own, so that the caller's threads are free for the next clip."""
    command = [binary(), "-hide_banner", "-loglevel", "error", *arguments]
    try:
        return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
            command, env=os.environ | _QUIET, **pipes
        )
    except OSError as error:
        raise EncoderMissing(_missing(f"{command[0]}: {error.strerror}")) from error


def failure(what: str, code: int, said: bytes) -> EncodeFailed:
    """The error of an ffmpeg that ended with `code`, having `said` this on stderr."""
    lines = said.decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    text = "\n".join(lines) or "it said nothing"
    if NO_SPACE in text:
        return DiskFull(f"{what}: no space left on the disk. Free some and render again.\n{text}")
    return EncodeFailed(f"{what}: ffmpeg ended with code {code}.\n{text}")


def disk_failure(path: Path, error: OSError) -> EncodeFailed:
    """The error of a file that the operating system would not write."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return DiskFull(f"{path}: no space left on the disk. Free some and render again.")
    return EncodeFailed(f"{path} cannot be written: {error.strerror or error}.")


def _missing(why: str) -> str:
    return (
        f"There is no ffmpeg to start ({why}). Install imageio-ffmpeg with its binary, or set "
        "IMAGEIO_FFMPEG_EXE to the path of one."
    )

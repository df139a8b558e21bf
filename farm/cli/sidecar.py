"""A video's receipt as a file beside it, for programs that read no video."""

from __future__ import annotations

import json
import os
from pathlib import Path

from farm.render.receipt import read_receipt


class SidecarNotWritten(Exception):
    """The file is there with other content, or cannot be written; the message says which."""


def sidecar_path(video: Path) -> Path:
    """NAME.json beside NAME.mp4."""
    return video.with_suffix(".json")


def write_sidecar(video: Path, *, overwrite: bool) -> Path:
    """Writes the video's receipt beside it, whole or not at all; the same one may be there.

    Raises VideoUnreadable, SidecarNotWritten.
    """
    path = sidecar_path(video)
    text = dump(read_receipt(video))
    try:
        if not overwrite and os.path.lexists(path):
            if path.is_file() and path.read_text(encoding="utf-8", errors="replace") == text:
                return path
            raise SidecarNotWritten(f"{path} is there already with other content")
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            partial.write_text(text, encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise SidecarNotWritten(f"{path}: {(error.strerror or str(error)).lower()}") from error
    return path


def dump(receipt: dict[str, object]) -> str:
    """A receipt as people read it."""
    return json.dumps(receipt, indent=2) + "\n"

"""The canary: a small fixed clip that a worker renders before it takes shots."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

import numpy as np
import structlog
from PIL import Image

from farm.jobs.params import RenderParams, resolve
from farm.render.renderer import Renderer

log = structlog.get_logger()

PARAMS = RenderParams(width_px=128, height_px=128, frame_count=2, step_count=2, seed=1)
_LEAST_CONTRAST = 0.01  # of [0, 1], between the darkest and the brightest value of a frame


def fault(renderer: Renderer) -> str:
    """What is wrong with a worker, as its canary clip shows it; empty where nothing is.

    The clip has to be finite, no frame of one colour, and encoded.
    """
    params = resolve(PARAMS, renderer.info, seed=1)
    try:
        clip = renderer.render(_image(), params)
        if found := _fault_of(clip.frames):
            log.error("canary.failed", fault=found)
            return found
        with tempfile.TemporaryDirectory(prefix="svdfarm-canary-") as folder:
            clip.write(Path(folder) / "canary.mp4")
    except Exception as error:  # the wall: whatever it is, it speaks against the worker
        log.error("canary.failed", exc_info=error)
        return f"the canary clip failed: {type(error).__name__}: {error}"
    return ""


def _fault_of(frames: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    if not np.isfinite(frames).all():
        return "the canary clip has NaN or infinity"
    contrast = float(min(np.ptp(frame) for frame in frames))
    if contrast < _LEAST_CONTRAST:
        return f"a frame of the canary clip is of one colour (contrast {contrast:.4f})"
    return ""


def _image() -> bytes:
    """A gradient in both directions, as a PNG."""
    ramp = np.linspace(0, 255, 128, dtype=np.uint8)
    down, across = np.meshgrid(ramp, ramp, indexing="ij")
    file = io.BytesIO()
    Image.fromarray(np.dstack([across, down, 255 - across])).save(file, "PNG")
    return file.getvalue()

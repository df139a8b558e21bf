"""What a worker needs to turn an image into a video, whoever does it.

Rendering and writing are two calls, so that a worker writes one clip in a thread while its device
is already on the next. Nothing here imports torch: see `EngineRenderer` for the real thing and
farm.render.fake for one that needs no model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from farm.jobs.params import ModelInfo, RenderParams
from farm.jobs.retry import MemoryProfile
from farm.jobs.tiers import Tier
from farm.render.encode import encode
from farm.render.errors import VideoBroken, VideoUnreadable
from farm.render.image import open_image
from farm.render.preview import Previews
from farm.render.probe import VideoFacts, probe_video
from farm.render.receipt import ClipInputs, Receipt, build_receipt, model_identity
from farm.render.settings import settle
from farm.render.versions import versions

if TYPE_CHECKING:
    from farm.render.engine import Engine


OnStep = Callable[[int, int], None]  # (steps done, steps in all)
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class DeviceMemory:
    """What is used of a GPU's memory, by everybody there."""

    used_bytes: int
    total_bytes: int


@dataclass(frozen=True)
class Video:
    """A finished video on disk."""

    path: Path
    sha256: str
    size_bytes: int
    frame_count: int
    width_px: int
    height_px: int
    fps: int
    durations_s: Mapping[str, float]  # stage to seconds
    media_type: str


@dataclass(frozen=True)
class Rendered:
    """A clip that is not yet a file: (frame, height, width, channel), float32 in [0, 1]."""

    frames: NDArray[np.float32]
    params: RenderParams
    durations_s: Mapping[str, float]
    receipt: Receipt

    def write(self, path: Path) -> Video:
        """Encode the video into `path` and decode it again; blocks, and may run in any thread.

        Raises as `encode`, and VideoBroken where the file is not the video that was asked for.
        """
        started = time.perf_counter()
        encode(self.frames, self.params, self.receipt.to_json(), path)
        found = _check(path, self.params)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        assert self.params.playback_fps is not None
        return Video(
            path=path,
            sha256=sha256,
            size_bytes=path.stat().st_size,
            frame_count=found.frame_count,
            width_px=found.width_px,
            height_px=found.height_px,
            fps=self.params.playback_fps,
            durations_s={**self.durations_s, "write": time.perf_counter() - started},
            media_type=self.params.container.media_type,
        )


class Renderer(Protocol):
    """One model on one device, rendering one clip at a time."""

    @property
    def info(self) -> ModelInfo:
        """The model and its defaults."""

    @property
    def device(self) -> str:
        """`cpu`, or the GPU's name."""

    @property
    def note(self) -> str | None:
        """What to say wherever the model is named."""

    def device_memory(self) -> DeviceMemory | None:
        """What is used of the device's memory; None on a CPU. For the thread that renders."""

    def render(
        self,
        image: bytes,
        params: RenderParams,
        on_step: OnStep | None = None,
        cancelled: Cancelled | None = None,
        memory: MemoryProfile = MemoryProfile.AS_STARTED,
        previews: Previews | None = None,
    ) -> Rendered:
        """The clip of an image file; `params` are resolved. Raises RenderError."""


class EngineRenderer:
    """The renderer of a real engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        identity = model_identity(engine.model.provenance.files, engine.numerics)
        self._info = dataclasses.replace(engine.model.info, identity=identity, tiers=(Tier.FAST,))

    @property
    def info(self) -> ModelInfo:
        """The model and its defaults."""
        return self._info

    @property
    def device(self) -> str:
        """`cpu`, or the GPU's name."""
        return str(self.engine.environment()["device"])

    @property
    def note(self) -> str | None:
        """What to say wherever the model is named."""
        return self.engine.model.note

    def device_memory(self) -> DeviceMemory | None:
        """What is used of the device's memory; None on a CPU."""
        found = self.engine.device_memory()
        return None if found is None else DeviceMemory(*found)

    def render(
        self,
        image: bytes,
        params: RenderParams,
        on_step: OnStep | None = None,
        cancelled: Cancelled | None = None,
        memory: MemoryProfile = MemoryProfile.AS_STARTED,
        previews: Previews | None = None,
    ) -> Rendered:
        """The clip of an image file; `params` are resolved. Raises RenderError."""
        self.engine.use_memory(memory)
        clip = self.engine.render(open_image(image), params, on_step, cancelled, previews)
        model = self.engine.model
        return Rendered(
            frames=clip.frames,
            params=params,
            durations_s={
                stage.removesuffix("_s"): seconds
                for stage, seconds in dataclasses.asdict(clip.timings).items()
            },
            receipt=build_receipt(
                params,
                ClipInputs(
                    hashlib.sha256(image).hexdigest(),
                    settle(params, model.vae_scale),
                    model.provenance.files,
                    dataclasses.replace(self.engine.numerics, tier=params.tier or Tier.EXACT),
                ),
                model={
                    "name": model.info.name,
                    "source": model.provenance.source,
                    "revision": model.provenance.revision,
                    "note": model.note,
                },
                environment={
                    **self.engine.environment(),
                    "decode_dtype": clip.decode_dtype,
                    "versions": versions(),
                },
            ),
        )


def _check(path: Path, params: RenderParams) -> VideoFacts:
    """What the file holds, when that is what was asked for."""
    try:
        found = probe_video(path)
    except VideoUnreadable as error:
        raise VideoBroken(str(error)) from error
    there = (found.frame_count, found.width_px, found.height_px)
    if there != (params.frame_count, params.width_px, params.height_px):
        raise VideoBroken(
            f"the video has {found.frame_count} frames of {found.width_px}x{found.height_px}; "
            f"{params.frame_count} of {params.width_px}x{params.height_px} were asked for"
        )
    return found

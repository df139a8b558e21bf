"""A renderer without a model: real small videos of a moving gradient, for tests of the farm."""

from __future__ import annotations

import dataclasses
import hashlib
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from farm.jobs.params import TINY, ModelInfo, RenderParams
from farm.jobs.retry import MemoryProfile
from farm.jobs.tiers import Tier
from farm.render.errors import RenderCancelled
from farm.render.image import open_image
from farm.render.preview import Previews, make_jpeg, pick
from farm.render.receipt import ClipInputs, Numerics, build_receipt
from farm.render.renderer import Cancelled, DeviceMemory, OnStep, Rendered
from farm.render.settings import ClipSettings, settle
from farm.render.versions import versions

NOTE = "no model: a moving gradient"
INFO = dataclasses.replace(TINY, tiers=(Tier.FAST,))


class FakeRenderer:
    """Takes `step_s` seconds a step, tells progress and obeys cancel as the engine does."""

    def __init__(self, info: ModelInfo = INFO, step_s: float = 0.0, device: str = "fake") -> None:
        self.info = info
        self.step_s = step_s
        self.device = device
        self.note: str | None = NOTE

    def device_memory(self) -> DeviceMemory | None:
        """As a GPU of 24 GB that has its model, and nothing else, in memory."""
        return DeviceMemory(used_bytes=6 * 10**9, total_bytes=24 * 10**9)

    def render(
        self,
        image: bytes,
        params: RenderParams,
        on_step: OnStep | None = None,
        cancelled: Cancelled | None = None,
        memory: MemoryProfile = MemoryProfile.AS_STARTED,
        previews: Previews | None = None,
    ) -> Rendered:
        """A gradient of the picture's mean colour that moves to the right, by seed."""
        settings = settle(params, vae_scale=8)
        mean = np.array(open_image(image).resize((1, 1)).getpixel((0, 0)), np.float32) / 255
        started = time.perf_counter()
        for step in range(settings.step_count):
            if cancelled is not None and cancelled():
                raise RenderCancelled(f"Cancelled after step {step} of {settings.step_count}.")
            if self.step_s:
                time.sleep(self.step_s)
            if previews is not None and previews.wanted():
                previews.show(_preview(settings, mean))
            if on_step is not None:
                on_step(step + 1, settings.step_count)
        chunked = memory >= MemoryProfile.SMALLEST
        tier = params.tier or Tier.EXACT
        numerics = Numerics("fake", dtype="float32", forward_chunking=chunked, tier=tier)
        image_sha256 = hashlib.sha256(image).hexdigest()
        offload = memory >= MemoryProfile.OFFLOAD
        return Rendered(
            frames=_gradient(settings, mean),
            params=params,
            durations_s={"denoise": time.perf_counter() - started},
            receipt=build_receipt(
                params,
                ClipInputs(image_sha256, settings, {}, numerics),
                model={"name": self.info.name, "note": self.note},
                environment={
                    "device": self.device,
                    "model_offload": offload,
                    "versions": versions(),
                },
            ),
        )


def _preview(settings: ClipSettings, colour: NDArray[np.floating[Any]]) -> bytes:
    frames = _gradient(settings, colour)[pick(settings.frame_count), ::8, ::8]
    return make_jpeg((frames * 255).astype(np.uint8))


def _gradient(settings: ClipSettings, colour: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """(frame, height, width, channel) in [0, 1]: a wave along x, shifted a little each frame."""
    frame = np.arange(settings.frame_count, dtype=np.float32)[:, None, None, None]
    x = np.arange(settings.width_px, dtype=np.float32)[None, None, :, None]
    phase = (x / settings.width_px - frame / 16 + settings.seed % 97 / 97) * 2 * np.pi
    wave = 0.5 + 0.3 * np.sin(phase) + 0.2 * (colour - 0.5)
    shape = (settings.frame_count, settings.height_px, settings.width_px, 3)
    return np.broadcast_to(wave, shape).astype(np.float32)

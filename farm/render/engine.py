"""The engine: an image and resolved settings in, the frames of a clip out."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from farm.jobs.params import RenderParams, resolve
from farm.jobs.retry import MemoryProfile
from farm.jobs.tiers import FULL_EVERY, Tier
from farm.render import kernels
from farm.render.compile import CompileCache, Compiled, Shape, Tell, cache_key
from farm.render.condition import condition
from farm.render.decode import check_finite, count_bad, decode, decode_in_float32, to_frames
from farm.render.denoise import Cancelled, Look, OnStep, denoise, draw_latents
from farm.render.determinism import is_deterministic
from farm.render.errors import ImageRejected, ParamsRejected, RenderCancelled
from farm.render.image import fit_image
from farm.render.kernels import Kernels
from farm.render.latent_colours import draw_preview, fit_colours
from farm.render.load import Model
from farm.render.memory import Memory, place
from farm.render.preview import Previews
from farm.render.receipt import Numerics
from farm.render.rewrite.attention import use_kernels
from farm.render.rewrite.context import Context
from farm.render.rewrite.errors import NotRewritable
from farm.render.rewrite.model import rewrite_model
from farm.render.settings import ClipSettings, settle
from farm.render.step_cache import StepCache
from farm.render.tiny import default_cache_dir

log = logging.getLogger(__name__)

# default: diffusers' modules rewritten. compiled: those, compiled for the model's own shape before
# the first clip. stock: diffusers' modules as they are.
ENGINES = ("default", "compiled", "stock")


@dataclass(frozen=True)
class Timings:
    """Seconds of each stage of a clip."""

    encode_s: float
    denoise_s: float
    decode_s: float


@dataclass(frozen=True)
class Clip:
    """A finished clip: (frame, height, width, channel), float32 in [0, 1]."""

    frames: NDArray[np.float32]
    timings: Timings
    decode_dtype: str  # float32 where half precision overflowed in the decoder


class Engine:
    """Renders clips with one model, one at a time; the model's modules are its own from now on.

    Not for two threads at once: the scheduler and the offload hooks hold the running clip's state.
    """

    def __init__(
        self,
        model: Model,
        engine: str = "default",
        memory: Memory | None = None,
        attention: str = "auto",
    ) -> None:
        for name, given, allowed in (
            ("engine", engine, ENGINES),
            ("attention", attention, kernels.CHOICES),
        ):
            if given not in allowed:
                raise ParamsRejected(f"{name} is {given!r}; allowed: {', '.join(allowed)}.")
        self.model = model
        self.engine = engine
        self._context: Context | None = None
        if engine != "stock":
            try:
                self.model, self._context = rewrite_model(model)
            except NotRewritable as found:
                log.warning("engine.stock", extra={"model": model.info.name, "because": str(found)})
                self.engine = "stock"
        self.model = dataclasses.replace(self.model, unet=StepCache(self.model.unet))
        on_gpu = model.device.type == "cuda"
        wanted = (
            on_gpu and not is_deterministic() if attention == "auto" else attention == "measured"
        )
        self._measures = wanted and self._context is not None  # stock modules have their own ways
        if self._measures:
            measured = Kernels(device_name(model.device), model.dtype, default_cache_dir())
            use_kernels(self.model.unet, measured)
        self._memory = memory or Memory()
        self._placement = place(self.model, self._memory, self._context)
        self._compiled: Compiled | None = None
        self._colours: Tensor | None = None  # of previews; fitted for the first that asks for some

    @property
    def memory(self) -> Memory:
        """How the clip is rendered that renders now, or was last."""
        return self._placement.memory

    def use_memory(self, profile: MemoryProfile) -> None:
        """Renders from now on as it was made to, or with less memory where `profile` says so."""
        wanted = self._memory.at(profile)
        if wanted != self.memory:
            self._placement.undo()
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()
            self._placement = place(self.model, wanted, self._context)

    def warm_up(self, tell: Tell | None = None) -> None:
        """Does what a compiled engine has to do before its first clip; minutes, the first time."""
        if self.engine == "compiled":
            info = self.model.info
            shape = Shape(info.width_px, info.height_px, info.frame_count)
            self.compile([shape], default_cache_dir() / "compiled", tell)

    def compile(
        self,
        shapes: Sequence[Shape],
        cache_dir: Path | None = None,
        tell: Tell | None = None,
        backend: str = "inductor",
    ) -> None:
        """Renders clips of `shapes` compiled from now on, and takes the time for it now.

        `cache_dir` keeps what was compiled for the next process. A model that runs with stock
        modules is not compiled. Raises ParamsRejected for a shape that it cannot render.
        """
        if self._context is None:
            log.warning("engine.not_compiled", extra={"because": "its modules are the stock ones"})
            return
        menu = [(shape, self._probe(shape)) for shape in shapes]
        if self._compiled is None:
            self._placement.undo()
            self._compiled = Compiled(self.model, backend)
            self._placement = place(self.model, self.memory, self._context)
        cache = None
        if cache_dir is not None:
            key = cache_key(self.model, shapes, device_name(self.model.device))
            cache = CompileCache(cache_dir, key)
            cache.load()
        probes = dict(menu)
        grey = Image.new("RGB", (64, 64), (127, 127, 127))
        if self._measures:
            for probe in probes.values():
                self._take_one_step(grey, probe)
        every = FULL_EVERY[Tier.FAST]
        self._compiled.warm(
            shapes, lambda shape: self._render_clip(grey, probes[shape], every), tell
        )
        if cache is not None:
            cache.save()

    def _probe(self, shape: Shape) -> ClipSettings:
        """A clip of that shape with two full steps of the fast tier, and what lies between them."""
        steps = FULL_EVERY[Tier.FAST] + 1
        given = RenderParams(
            model=self.model.info.name, step_count=steps, **dataclasses.asdict(shape)
        )
        return settle(resolve(given, self.model.info, seed=0), self.model.vae_scale)

    def _take_one_step(self, image: Image.Image, probe: ClipSettings) -> None:
        """Meets every attention of a clip of that shape, uncompiled, so that it is measured."""
        done: list[int] = []
        with torch.compiler.set_stance("force_eager"), contextlib.suppress(RenderCancelled):
            self._render_clip(image, probe, 1, lambda *steps: done.append(1), lambda: bool(done))

    def render(
        self,
        image: Image.Image,
        params: RenderParams,
        on_step: OnStep | None = None,
        cancelled: Cancelled | None = None,
        previews: Previews | None = None,
    ) -> Clip:
        """The clip of `image`, fitted to the size and in the way that `params` say.

        `params` come from farm.jobs.params.resolve. In float32 on a CPU the frames of the stock
        engine are those of StableVideoDiffusionPipeline, bit for bit at the same number of
        threads, and the default engine's are within 1/255 of them. `on_step(done,
        total)` is called after every step, `cancelled()` before; `previews` change no frame.

        Raises ParamsRejected, ImageRejected, RenderCancelled, ClipNotFinite.
        """
        settings = settle(params, self.model.vae_scale)
        if image.mode != "RGB":
            raise ImageRejected(
                f"The image's mode is {image.mode}; allowed: RGB, as farm.render.image.open_image "
                "makes it."
            )
        shape = Shape(settings.width_px, settings.height_px, settings.frame_count)
        with contextlib.nullcontext() if self._compiled is None else self._compiled.use(shape):
            every = FULL_EVERY[params.tier or Tier.EXACT]
            return self._render_clip(image, settings, every, on_step, cancelled, previews)

    @property
    def numerics(self) -> Numerics:
        """How clips are computed now."""
        return Numerics(
            engine=self.engine,
            dtype=str(self.model.dtype).removeprefix("torch."),
            forward_chunking=self.memory.forward_chunking,
        )

    def device_memory(self) -> tuple[int, int] | None:
        """Bytes that are used of the GPU's memory, by everybody there, and all; None on a CPU."""
        if self.model.device.type != "cuda":
            return None
        free_bytes, total_bytes = torch.cuda.mem_get_info(self.model.device)
        return total_bytes - free_bytes, total_bytes

    def environment(self) -> dict[str, Any]:
        """What nobody chose for a clip, and what may yet round its pixels in another way."""
        on_gpu = self.model.device.type == "cuda"
        return {
            "device": device_name(self.model.device),
            "threads": torch.get_num_threads(),
            "processor": platform.machine(),
            "vector_instructions": torch.backends.cpu.get_cpu_capability(),
            "cuda": torch.version.cuda if on_gpu else None,
            "cudnn": torch.backends.cudnn.version() if on_gpu else None,  # type: ignore[no-untyped-call]
            "deterministic": is_deterministic(),
            "attention": "measured" if self._measures else "torch",
            "model_offload": self.memory.model_offload,
            "values_at_once": self.memory.values_at_once,
        }

    def _render_clip(
        self,
        image: Image.Image,
        settings: ClipSettings,
        full_every: int,
        on_step: OnStep | None = None,
        cancelled: Cancelled | None = None,
        previews: Previews | None = None,
    ) -> Clip:
        try:
            return self._render(
                image,
                settings,
                full_every,
                on_step or _ignore_step,
                cancelled or _never_cancelled,
                previews,
            )
        finally:
            self._placement.after_clip()

    @torch.no_grad()
    def _render(
        self,
        image: Image.Image,
        settings: ClipSettings,
        full_every: int,
        on_step: OnStep,
        cancelled: Cancelled,
        previews: Previews | None,
    ) -> Clip:
        model = self.model
        started = self._now()
        fitted = fit_image(image, settings.width_px, settings.height_px, settings.fit)
        # One generator a clip, on the CPU: the same noise on every device.
        generator = torch.Generator("cpu").manual_seed(settings.seed)
        dtype = model.dtype if self._context is None else torch.float32
        given = condition(model, fitted, settings, generator, dtype)
        if self._context is not None:
            given = dataclasses.replace(given, embedding=self._context(given.embedding))
        look = None if previews is None else self._looking(previews)
        encoded = self._now()

        latents = draw_latents(model, settings, generator, dtype)
        latents = denoise(model, latents, given, on_step, cancelled, look, full_every)
        check_finite(latents, "latents")
        denoised = self._now()

        pictures, decode_dtype = self._decode(latents[0], settings.decode_chunk_size)
        frames = to_frames(pictures)
        decoded = self._now()
        timings = Timings(encoded - started, denoised - encoded, decoded - denoised)
        return Clip(frames, timings, decode_dtype)

    def _decode(self, latents: Tensor, chunk_size: int) -> tuple[Tensor, str]:
        """Pictures, all finite, and what they were computed in."""
        vae, dtype = self.model.vae, self.model.dtype
        pictures = decode(vae, latents, chunk_size)
        if dtype != torch.float32 and (bad := count_bad(pictures)):
            log.warning("engine.decodes_again", extra={"bad_values": bad, "dtype": str(dtype)})
            dtype = torch.float32
            pictures = decode_in_float32(vae, latents, chunk_size)
        check_finite(pictures, "frames")
        return pictures, str(dtype).removeprefix("torch.")

    def _looking(self, previews: Previews) -> Look:
        """Draws the latents that it is given where that is wanted; else nothing is waited for."""
        if self._colours is None:
            self._colours = fit_colours(self.model)
        colours = self._colours

        def look(latents: Tensor) -> None:
            if previews.wanted():
                previews.show(draw_preview(colours, latents[0]))

        return look

    def _now(self) -> float:
        """Seconds, once the device has done all that it was given."""
        if self.model.device.type == "cuda":
            torch.cuda.synchronize(self.model.device)
        return time.perf_counter()


def device_name(device: torch.device) -> str:
    """`cpu`, or the GPU's own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _ignore_step(done: int, total: int) -> None:
    """Nobody listens."""


def _never_cancelled() -> bool:
    return False

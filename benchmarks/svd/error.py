"""How far half precision is from float32: of the guide's script, and of ours."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.svd.architecture import Work, make_model
from benchmarks.svd.bench import Bench
from benchmarks.svd.gpu import forget_peak
from benchmarks.svd.ours import compile_engine
from benchmarks.svd.rivals import CHUNK, Guide
from farm.render.decode import decode, to_frames
from farm.render.engine import Engine
from farm.render.load import Model
from farm.render.rewrite.vae import rewrite_vae


def measure_error(bench: Bench, step_count: int | None, clip_count: int, compiled: bool) -> None:
    """RMSE over float frames in [0, 1] against diffusers' networks in float32, TF32 off.

    All start from the noise that half precision draws. `eager` and `ours` decode as the guide
    does, CHUNK frames at a time, against the same reference; `ours_whole` decodes all frames
    together, its default, against the reference's latents decoded so.
    """
    info = bench.work.info
    info = dataclasses.replace(info, step_count=step_count or info.step_count)
    work = dataclasses.replace(bench.work, info=info)
    half = make_model(work)
    wide = widen(half)
    guide, reference = Guide(half, work), Guide(wide, work)
    engine = Engine(half)
    whole_vae = rewrite_vae(wide.vae)
    if compiled:
        compile_engine(dataclasses.replace(bench, work=work), engine)
    compiled = engine._compiled is not None
    forget_peak(work.device)
    found: dict[str, list[float]] = {"eager": [], "ours": [], "ours_whole": []}
    spread: list[float] = []
    spent_s = 0.0
    chunk = min(CHUNK, info.frame_count)
    for seed in range(clip_count):
        if seed and not bench.has_time(1.1 * spent_s, f"error, clip {seed + 1} of {clip_count}"):
            break
        left_s = bench.budget.left_s
        image = bench.picture(seed)
        with strict_float32():
            latents = reference.frames(
                image, seed, output_type="latent", latents=half_noise(work, seed)
            )
            chunked = pictures(wide.vae, latents, chunk)
            whole = pictures(whole_vae, latents, info.frame_count)
        eager = guide.frames(image, seed, output_type="np")
        ours = engine.render(image, work.params(seed, decode_chunk_size=chunk)).frames
        ours_whole = engine.render(image, work.params(seed)).frames
        found["eager"].append(rmse(eager, chunked))
        found["ours"].append(rmse(ours, chunked))
        found["ours_whole"].append(rmse(ours_whole, whole))
        spread.append(float(chunked.std()))
        bench.add(
            error={name: float(f"{np.mean(each):.4g}") for name, each in found.items()},
            error_of={
                "clip_count": len(spread),
                "step_count": info.step_count,
                "size": f"{info.width_px}x{info.height_px}x{info.frame_count}",
                "each": {
                    name: [float(f"{one:.4g}") for one in each] for name, each in found.items()
                },
                "frames_std": round(float(np.mean(spread)), 4),  # flat frames would hide errors
                "ours_compiled": compiled,
            },
        )
        spent_s = left_s - bench.budget.left_s


def widen(half: Model) -> Model:
    """The same weights in float32, with a scheduler of their own."""
    if half.dtype == torch.float32:
        return dataclasses.replace(half, scheduler=copy.deepcopy(half.scheduler))
    parts: dict[str, Any] = {
        name: copy.deepcopy(getattr(half, name)).float()
        for name in ("unet", "vae", "image_encoder")
    }
    scheduler = copy.deepcopy(half.scheduler)
    return dataclasses.replace(half, **parts, scheduler=scheduler, dtype=torch.float32)


def half_noise(work: Work, seed: int) -> Tensor:
    """The clip's second random draw, as a pipeline in work.dtype draws it."""
    info = work.info
    generator = torch.Generator("cpu").manual_seed(seed)
    torch.randn((1, 3, info.height_px, info.width_px), generator=generator)
    shape = (1, info.frame_count, 4, info.height_px // 8, info.width_px // 8)
    return torch.randn(shape, generator=generator, dtype=work.dtype).float()


@torch.no_grad()
def pictures(vae: Any, latents: Tensor, chunk_size: int) -> np.ndarray[Any, Any]:
    return to_frames(decode(vae, latents, chunk_size))


def rmse(frames: Any, reference: Any) -> float:
    difference = np.asarray(frames, np.float64) - np.asarray(reference, np.float64)
    return float(np.sqrt(np.mean(difference**2)))


@contextlib.contextmanager
def strict_float32() -> Iterator[None]:
    """Within the block float32 products are float32's, not TF32's."""
    switches = (torch.backends.cuda.matmul, torch.backends.cudnn)
    were = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = False
    try:
        yield
    finally:
        for switch, was in zip(switches, were, strict=True):
            switch.allow_tf32 = was

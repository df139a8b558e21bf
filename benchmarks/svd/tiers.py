"""What a tier saves: the operations of its steps, and the time of its clips."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.svd.architecture import make_meta
from benchmarks.svd.bench import Bench
from farm.jobs.params import ModelInfo
from farm.jobs.tiers import Tier
from farm.render.engine import Engine
from farm.render.rewrite.unet import rewrite_unet
from farm.render.step_cache import StepCache


def count_steps(info: ModelInfo) -> tuple[int, int]:
    """Operations of a full step of SVD-XT's rewritten UNet with guidance, and of one that is not.

    Counted on the meta device: nothing is computed.
    """
    stock = make_meta()["unet"].eval()
    for module in stock.modules():
        if hasattr(module, "mix_factor"):  # the rewrites read it
            module.mix_factor = torch.nn.Parameter(torch.zeros(1))
    rewritten, context = rewrite_unet(stock)
    unet = StepCache(rewritten.to("meta"))
    frames, height, width = info.frame_count, info.height_px // 8, info.width_px // 8

    def draw(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    def count(deep: torch.Tensor | None) -> tuple[int, torch.Tensor]:
        given = (draw(2, frames, 8, height, width), draw(), draw(2, 1, context.width), draw(2, 3))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            _, found = unet(*given, deep)
        return counter.get_total_flops(), found

    full, deep = count(None)
    return full, count(deep)[0]


def of_clip(full: int, outer: int, step_count: int, full_every: int) -> int:
    """Operations of all steps of a clip."""
    full_count = len(range(0, step_count, full_every))
    return full_count * full + (step_count - full_count) * outer


def measure_tiers(bench: Bench, engine: Engine) -> None:
    """Seconds that the steps of a clip take in each tier: the second of two clips."""
    taken: dict[str, Any] = {}
    for tier in Tier:
        for seed in (1, 2):
            clip = engine.render(bench.picture(seed), bench.work.params(seed, tier=tier))
        taken[tier] = round(clip.timings.denoise_s, 3)
    bench.add(tier_denoise_s=taken)

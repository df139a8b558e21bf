"""What a clip must cost: its operations, and the card's own rate of doing them."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.svd.architecture import make_meta
from farm.jobs.params import TINY, ModelInfo
from farm.render.tiny import make_parts


@dataclass(frozen=True)
class Cost:
    """Floating-point operations of diffusers' networks as they are, two a multiply-add."""

    step: int  # one call of the UNet, with guidance
    decode: int
    encode: int
    embed: int

    def of_clip(self, step_count: int) -> int:
        return step_count * self.step + self.decode + self.encode + self.embed

    def to_json(self) -> dict[str, float]:
        return {name: round(ops / 1e12, 4) for name, ops in dataclasses.asdict(self).items()}


def count_cost(info: ModelInfo) -> Cost:
    """Counted on the meta device: nothing is computed."""
    parts: dict[str, Any] = make_parts() if info.name == TINY.name else make_meta()
    unet, vae, clip = (parts[name].to("meta").eval() for name in ("unet", "vae", "image_encoder"))
    height, width, frames = info.height_px // 8, info.width_px // 8, info.frame_count

    def draw(*shape: int) -> torch.Tensor:
        return torch.empty(shape, device="meta")

    token = draw(2, 1, unet.config.cross_attention_dim)
    calls = (
        lambda: unet(
            draw(2, frames, 8, height, width), draw(), token, draw(2, 3), return_dict=False
        ),
        lambda: vae.decode(draw(frames, 4, height, width), num_frames=frames),
        lambda: vae.encode(draw(1, 3, info.height_px, info.width_px)),
        lambda: clip(draw(1, 3, 224, 224)),
    )
    counted = []
    for call in calls:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
        counted.append(counter.get_total_flops())
    return Cost(*counted)


def floor_s(operations: float, rates: list[float]) -> float:
    """Seconds of so many operations at the mean of the rates, in operations a second."""
    return operations / (sum(rates) / len(rates))


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int, seconds: float) -> float:
    """Operations a second of a square matrix product, sustained; random normal data."""
    if device.type == "cuda":  # its sums in float32, as the networks' are to be
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    into = torch.empty_like(a)
    for _ in range(3):
        torch.mm(a, b, out=into)
    wait(device)
    started = time.perf_counter()
    count = 0
    while True:
        for _ in range(20):
            torch.mm(a, b, out=into)
        count += 20
        wait(device)
        spent = time.perf_counter() - started
        if spent >= seconds:
            return count * 2 * side**3 / spent


def wait(device: torch.device) -> None:
    """Until the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)

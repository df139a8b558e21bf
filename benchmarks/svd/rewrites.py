"""What each rewrite of farm/render/rewrite is worth: the networks with it and without."""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.resnet import SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn

from benchmarks.svd.architecture import make_model
from benchmarks.svd.bench import Bench
from benchmarks.svd.cost import wait
from benchmarks.svd.gpu import forget_peak
from benchmarks.svd.rivals import CHUNK
from farm.render.engine import device_name
from farm.render.kernels import Kernels
from farm.render.rewrite.attention import use_kernels
from farm.render.rewrite.context import Context
from farm.render.rewrite.decoder import Decoder, FrameStage
from farm.render.rewrite.residual import Residual
from farm.render.rewrite.transformer import Transformer
from farm.render.rewrite.unet import replace, share_weights
from farm.render.rewrite.upsample import PhaseUpsample

UNET_REWRITES = ("transformer", "residual", "upsample")


def measure_rewrites(bench: Bench, compiled: bool) -> None:
    """Milliseconds of a UNet call and of decoding a clip, with all rewrites and less each one."""
    model = make_model(bench.work)
    forget_peak(bench.work.device)
    measure_unet(bench, model.unet, "rewrites")
    measure_decoder(bench, model.vae)
    if compiled:
        measure_unet(bench, model.unet, "rewrites_compiled")


@torch.no_grad()
def measure_unet(bench: Bench, stock: nn.Module, under: str) -> None:
    every = frozenset(UNET_REWRITES)
    variants = {"all": every, "stock": frozenset[str]()}
    variants |= {f"without_{name}": every - {name} for name in UNET_REWRITES}
    variants["all_with_measured_kernels"] = every
    expected: Tensor | None = None
    spent_s = 0.0
    for name, rewrites in variants.items():
        if not bench.has_time(1.2 * spent_s + 5, f"{under}, {name}"):
            continue
        left_s = bench.budget.left_s
        unet, context = rewrite_some(stock, rewrites)
        given = draw_inputs(bench, context)
        if name == "all_with_measured_kernels":
            kernels = Kernels(device_name(bench.work.device), bench.work.dtype, None)
            use_kernels(unet, kernels)
            unet(*given, return_dict=False)  # meets them
            bench.add(attention={under: kernels.chosen})
        if under == "rewrites_compiled":
            torch._dynamo.reset()
            unet.forward = torch.compile(unet.forward, fullgraph=True, dynamic=False)
        made = unet(*given, return_dict=False)[0].float()
        if expected is None:
            expected = made
        difference = float((made - expected).abs().max() / expected.abs().max())
        call = functools.partial(unet, *given, return_dict=False)
        step_ms = median_ms(bench, call)
        bench.add(
            step_ms={under: {name: step_ms}},
            differs={under: {name: float(f"{difference:.3g}")}},  # from the first one
        )
        del unet, context, given, call
        forget_peak(bench.work.device)
        spent_s = left_s - bench.budget.left_s


def rewrite_some(stock: nn.Module, rewrites: frozenset[str]) -> tuple[Any, Context | None]:
    """The UNet with some of its rewrites; a context if it has to be called with one."""
    unet: Any = share_weights(stock)
    context = Context() if "transformer" in rewrites else None
    if context is not None:
        made = context
        replace(unet, TransformerSpatioTemporalModel, lambda found: Transformer(found, made))
    if "residual" in rewrites:
        replace(unet, SpatioTemporalResBlock, Residual)
    if "upsample" in rewrites:
        replace(unet, Upsample2D, PhaseUpsample)
    return unet, context


def draw_inputs(bench: Bench, context: Context | None) -> tuple[Tensor, ...]:
    """What one step gives to the UNet; the same numbers at every call."""
    work = bench.work
    generator = torch.Generator("cpu").manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(work.device, work.dtype)

    info = work.info
    sample = draw(2, info.frame_count, 8, info.height_px // 8, info.width_px // 8)
    width = 32 if info.name == "tiny" else 1024
    token = draw(2, 1, width)
    step = torch.tensor(1.0, device=work.device)
    ids = torch.tensor([[6.0, 127.0, 0.02]] * 2).to(work.device, work.dtype)
    return sample, step, token if context is None else context(token), ids


@torch.no_grad()
def measure_decoder(bench: Bench, vae: Any) -> None:
    """The decoder of all frames, without its upsampling, and diffusers' in chunks and whole."""
    info, device = bench.work.info, bench.work.device
    frames = info.frame_count
    latents = torch.randn(frames, 4, info.height_px // 8, info.width_px // 8, device=device)
    latents = latents.to(bench.work.dtype)
    every, no_phases = Decoder(vae.decoder).eval(), Decoder(vae.decoder).eval()
    for stage in no_phases.stages:
        if isinstance(stage, FrameStage):  # its growth is known, so only the layer changes
            upsamples = [m for m in vae.decoder.modules() if isinstance(m, Upsample2D)]
            for index, layer in enumerate(stage.layers):
                if isinstance(layer, PhaseUpsample):
                    stage.layers[index] = next(u for u in upsamples if u.conv is layer.stock_conv)

    def stock(size: int) -> Callable[[], Any]:
        return lambda: [
            vae.decoder(c, torch.zeros(1, len(c)).to(c), len(c)) for c in latents.split(size)
        ]

    variants: dict[str, Callable[[], Any]] = {
        "all": lambda: every(latents, num_frames=frames),
        "without_upsample": lambda: no_phases(latents, num_frames=frames),
        f"stock_{CHUNK}_frames": stock(CHUNK),
        "stock_whole": stock(frames),
    }
    for name, call in variants.items():
        if name == "stock_whole" and bench.work.on_gpu and largest(bench, vae) >= 2**31:
            # Kernels that count in 32 bits may fault, and the process then loses its GPU.
            bench.leave_out(f"decode_ms, {name}", "a tensor has more than 2**31 values")
            continue
        if not bench.has_time(15 if bench.work.on_gpu else 1, f"decode_ms, {name}"):
            continue
        try:
            call()
            decode_ms = median_ms(bench, call)
        except torch.OutOfMemoryError as error:
            bench.leave_out(f"decode_ms, {name}", str(error).splitlines()[0][:200])
        else:
            bench.add(decode_ms={name: decode_ms})
        forget_peak(device)


def largest(bench: Bench, vae: Any) -> int:
    """How many values diffusers' largest tensor has where it decodes all frames together."""
    info = bench.work.info
    return info.frame_count * info.width_px * info.height_px * int(vae.config.block_out_channels[1])


def median_ms(bench: Bench, call: Callable[[], Any]) -> float:
    """Milliseconds, the device waited for; of five calls on a GPU, three elsewhere."""
    spent = []
    for _ in range(5 if bench.work.on_gpu else 3):
        wait(bench.work.device)
        started = time.perf_counter()
        call()
        wait(bench.work.device)
        spent.append(time.perf_counter() - started)
    return round(1000 * statistics.median(spent), 2)

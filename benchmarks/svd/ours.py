"""The farm's engine: clip after clip, each one's video encoded beside the next."""

from __future__ import annotations

import itertools
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from benchmarks.svd.architecture import make_model
from benchmarks.svd.bench import Bench
from benchmarks.svd.gpu import busy_within, forget_peak, peak_gib
from benchmarks.svd.tiers import measure_tiers
from farm.render.compile import Shape
from farm.render.encode import encode
from farm.render.engine import Engine
from farm.render.memory import Memory

_DECODE, _DENOISE = "bench: decode begins", "bench: denoising begins"


def make_engine(bench: Bench, memory: Memory | None = None) -> Engine:
    """The engine of a model of its own; the stock modules' tensors that it does not use go."""
    engine = Engine(make_model(bench.work), memory=memory)
    forget_peak(bench.work.device)
    return engine


def compile_engine(bench: Bench, engine: Engine) -> float:
    """Seconds that it took for the clips' shape."""
    info = bench.work.info
    torch._dynamo.reset()
    started = time.perf_counter()
    engine.compile(
        [Shape(info.width_px, info.height_px, info.frame_count)],
        tell=lambda progress: print(progress, flush=True),
    )
    return time.perf_counter() - started


def measure_ours(bench: Bench) -> None:
    """Period, stages, memory and idle time of the default engine; compiled where a GPU is."""
    work = bench.work
    engine = make_engine(bench)
    compiled = work.on_gpu and bench.has_time(240, "compilation of ours")
    if compiled:
        bench.add(ours={"compile_s": round(compile_engine(bench, engine), 1)})
    bench.add(ours={"compiled": compiled, "engine": engine.engine})
    forget_peak(work.device)
    started = time.perf_counter()
    clip = engine.render(bench.picture(0), work.params(0))
    warm_s = time.perf_counter() - started
    if bench.has_time((work.clip_count + 1) * warm_s, "period of ours"):
        ends = steady_ends(bench, engine)
        periods = [after - before for before, after in itertools.pairwise(ends)]
        bench.add(
            clip_s={"ours": round(sum(periods) / len(periods), 3)},
            clips_s={"ours": [round(each, 3) for each in periods]},
            peak_gib={"ours": peak_gib(work.device)},
        )
    if bench.has_time(3 * warm_s, "lone clips of ours"):
        lone = []
        for seed in (1, 2):
            started = time.perf_counter()
            clip = engine.render(bench.picture(seed), work.params(seed))
            before_s = time.perf_counter()
            encode(clip.frames, work.params(seed), {}, bench.path("ours"))
            ended = time.perf_counter()
            lone.append(ended - started)
        times = clip.timings
        bench.add(
            lone_s={"ours": round(min(lone), 3)},
            step_ms={"ours": round(1000 * times.denoise_s / work.info.step_count, 2)},
            stage_ms={
                "ours": {
                    "encode": round(1000 * times.encode_s, 2),
                    "decode": round(1000 * times.decode_s, 2),
                    "video": round(1000 * (ended - before_s), 2),
                }
            },
        )
    if bench.has_time(4 * warm_s, "tiers of ours"):
        measure_tiers(bench, engine)
    if not work.on_gpu:
        bench.leave_out("idle_fraction", "there is no GPU")
    elif bench.has_time(5 * warm_s, "idle_fraction"):
        measure_idle(bench, engine)


def steady_ends(bench: Bench, engine: Engine) -> list[float]:
    """When each of the clips had its frames, the first one's period not counted.

    A clip's video is written beside the next clip; the one after that waits until it is.
    """
    work, ends = bench.work, []
    writing: Future[Any] | None = None
    with ThreadPoolExecutor(1) as beside:
        for seed in range(work.clip_count + 1):
            params = work.params(seed)
            frames = engine.render(bench.picture(seed), params).frames
            if writing is not None:
                writing.result()
            ends.append(time.perf_counter())
            writing = beside.submit(encode, frames, params, {}, bench.path(f"ours-{seed % 2}"))
    return ends


def measure_idle(bench: Bench, engine: Engine) -> None:
    """How long the GPU has nothing to do between a clip's last step and the next one's first.

    By torch.profiler: the time from the beginning of one clip's decoding to the beginning of the
    next one's denoising, less what kernels and copies cover of it. At both ends the engine has
    waited for the GPU, so that the host's clock says where they are. The last step of one clip to
    the first of the next is profiled, and the last video is written beside it, as ever.
    """
    work = bench.work
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]):
        torch.ones(1, device=work.device).sum().item()  # its own start takes seconds, once
    watch = profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA])
    marked: list[str] = []

    def mark(name: str) -> None:
        if name not in marked:
            marked.append(name)
            with record_function(name):
                pass

    def begin(done: int, total: int) -> None:
        if done == total - 1:
            watch.start()

    def end(done: int, _total: int) -> None:
        if done == 1:
            watch.stop()

    vae, unet = engine.model.vae, engine.model.unet
    with ThreadPoolExecutor(1) as beside:
        before = engine.render(bench.picture(0), work.params(0)).frames
        writing = beside.submit(encode, before, work.params(0), {}, bench.path("idle-0"))
        hook = vae.decoder.register_forward_pre_hook(lambda *_: mark(_DECODE))
        frames = engine.render(bench.picture(1), work.params(1), on_step=begin).frames
        writing.result()
        beside.submit(encode, frames, work.params(1), {}, bench.path("idle-1"))
        hook.remove()
        hook = unet.register_forward_pre_hook(lambda *_: mark(_DENOISE))
        engine.render(bench.picture(2), work.params(2), on_step=end)
        hook.remove()
    starts: dict[str, float] = {}
    kernels = []
    for event in watch.events() or ():
        span = (event.time_range.start, event.time_range.end)
        on_gpu = "CUDA" in str(event.device_type)
        if event.name not in marked and on_gpu:
            kernels.append(span)
        elif event.name in marked and not on_gpu:
            starts.setdefault(event.name, span[0])
    if set(starts) != {_DECODE, _DENOISE} or not kernels:
        bench.leave_out("idle_fraction", "the profiler saw no kernels")
        return
    window_s = (starts[_DENOISE] - starts[_DECODE]) / 1e6
    idle_s = window_s - busy_within(kernels, starts[_DECODE], starts[_DENOISE]) / 1e6
    period_s = bench.figures.get("clip_s", {}).get("ours")
    bench.add(
        idle={"between_clips_ms": round(1000 * window_s, 2), "idle_ms": round(1000 * idle_s, 2)}
    )
    if period_s:
        bench.add(idle_fraction=round(idle_s / period_s, 5))

"""The memory profiles: the time and the memory of a clip, the process held to what each is for."""

from __future__ import annotations

import time
from typing import Any

import torch

from benchmarks.svd.bench import Bench
from benchmarks.svd.gpu import forget_peak, peak_gib, reserved_gib
from benchmarks.svd.ours import compile_engine, make_engine
from farm.render.engine import Engine
from farm.render.memory import PROFILES

# What the process is held to. A card's driver and context take about half a GiB beside it.
HELD_TO_GIB: dict[str, float | None] = {"fast": None, "balanced": 22, "low": 8}


def measure_profiles(bench: Bench, compiled: bool) -> None:
    """Of each profile the second of two clips."""
    for name in PROFILES:
        measure_profile(bench, name, "profiles", compiled=False)
    if compiled:
        for name in PROFILES:
            measure_profile(bench, name, "profiles_compiled", compiled=True)


def measure_profile(bench: Bench, name: str, under: str, compiled: bool) -> None:
    """Its clip's seconds and its peak, or how it failed."""
    work = bench.work
    if not bench.has_time((240 if compiled else 60) if work.on_gpu else 1, f"{under}, {name}"):
        return
    held_gib = HELD_TO_GIB[name] if work.on_gpu else None
    engine = make_engine(bench, PROFILES[name])
    found: dict[str, Any] = {"held_to_gib": held_gib}
    hold_to(held_gib)
    try:
        found |= render_twice(bench, engine, compiled)
    except torch.OutOfMemoryError as error:
        found["failed"] = str(error).splitlines()[0][:200]
    else:
        found["failed"] = None
    found |= {"peak_gib": peak_gib(work.device), "reserved_gib": reserved_gib(work.device)}
    hold_to(None)
    del engine
    forget_peak(work.device)
    bench.add(**{under: {name: found}})


def render_twice(bench: Bench, engine: Engine, compiled: bool) -> dict[str, float]:
    """What the second clip took."""
    if compiled:
        compile_engine(bench, engine)
        forget_peak(bench.work.device)
    engine.render(bench.picture(0), bench.work.params(0))
    started = time.perf_counter()
    times = engine.render(bench.picture(1), bench.work.params(1)).timings
    return {
        "clip_s": round(time.perf_counter() - started, 3),
        "step_ms": round(1000 * times.denoise_s / bench.work.info.step_count, 2),
        "encode_ms": round(1000 * times.encode_s, 2),
        "decode_ms": round(1000 * times.decode_s, 2),
    }


def hold_to(gib: float | None) -> None:
    """Let torch's allocator have so much of the GPU; None: all of it."""
    if not torch.cuda.is_available():
        return
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(1.0 if gib is None else gib * 2**30 / total)

"""How long a worker takes to its first step where the same shape was compiled before.

As `python -m benchmarks.svd.start BEGAN MODEL CACHE WIDTHxHEIGHTxFRAMES` it is that worker: it
loads a model from a folder, compiles, renders, and says when the first step was done.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.svd.architecture import make_model
from benchmarks.svd.bench import Bench
from benchmarks.svd.cost import wait
from benchmarks.svd.gpu import forget_peak
from farm.render.checkpoint import write_checkpoint
from farm.render.folder import Card

_PARTS = ("unet", "vae", "image_encoder", "scheduler", "feature_extractor")


def measure_start(bench: Bench) -> None:
    """The second of two workers; each begins with no cache but the farm's own file."""
    if not bench.work.on_gpu:
        bench.leave_out("start_s", "nothing is compiled without a GPU")
        return
    if not bench.has_time(300, "start_s"):
        return
    info, folder = bench.work.info, bench.scratch / "model"
    model = make_model(bench.work)
    parts = {name: getattr(model, name) for name in _PARTS}
    write_checkpoint(folder, parts, Card(info.width_px, info.height_px, info.step_count, "random"))
    del model, parts
    forget_peak(bench.work.device)
    compiled_s = run_worker(bench, folder, "first")
    if compiled_s is not None and bench.has_time(120, "start_s, the second worker"):
        start_s = run_worker(bench, folder, "second")
        bench.add(start_first_s=compiled_s, start_s=start_s)


def run_worker(bench: Bench, folder: Path, name: str) -> float | None:
    """Seconds from a process's beginning to its first step; None if it failed or took too long."""
    info = bench.work.info
    shape = f"{info.width_px}x{info.height_px}x{info.frame_count}"
    command = [sys.executable, "-m", "benchmarks.svd.start"]
    own_caches = {
        "TORCHINDUCTOR_CACHE_DIR": str(bench.scratch / f"inductor-{name}"),
        "TRITON_CACHE_DIR": str(bench.scratch / f"triton-{name}"),
        "XDG_CACHE_HOME": str(bench.scratch / "cache"),
    }
    command += [str(time.time()), str(folder), str(bench.scratch / "compiled"), shape]
    try:
        done = subprocess.run(
            command,
            env=os.environ | own_caches,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=max(1, bench.budget.left_s - 10),
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        bench.leave_out(f"start_s, the {name} worker", str(error)[-200:])
        return None
    return round(float(done.stdout.split()[-1]), 1)


def work(began: float, folder: str, cache: Path, shape: str) -> None:
    """Prints the seconds from `began`, on the wall's clock, to the end of the first step."""
    from PIL import Image

    from farm.jobs.params import RenderParams, resolve
    from farm.render.compile import Shape
    from farm.render.engine import Engine
    from farm.render.load import load

    width, height, frames = map(int, shape.split("x"))
    model = load(folder)
    engine = Engine(model)
    engine.compile([Shape(width, height, frames)], cache)
    given = RenderParams(width_px=width, height_px=height, frame_count=frames, step_count=2)
    params = resolve(given, model.info, seed=0)
    ends: list[float] = []

    def on_step(*_: Any) -> None:
        wait(model.device)
        ends.append(time.time())

    engine.render(Image.new("RGB", (width, height)), params, on_step)
    print(ends[0] - began, flush=True)


if __name__ == "__main__":
    work(float(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4])

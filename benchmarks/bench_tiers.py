"""What step caching changes and saves: nano's clips against the exact ones, on the CPU.

    python -m benchmarks.bench_tiers examples/images/*.*g
    python -m benchmarks.bench_tiers examples/images/*.*g --every 2,4

--every says how many steps it is from one full step to the next, each its own row. Figures go to
benchmarks/results/tiers-cpu.json, beside the rows that are there. nano is small and knows only how
cameras move: SVD's own error is for a GPU and its weights to tell.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from benchmarks.bench_engine import commit
from benchmarks.svd.results import merge
from benchmarks.svd.tiers import count_steps, of_clip
from farm.jobs.params import NANO, SVD_XT, RenderParams, resolve
from farm.jobs.tiers import FULL_EVERY, Tier
from farm.render.engine import Clip, Engine
from farm.render.image import open_image
from farm.render.load import load
from farm.render.versions import versions

OUT = Path(__file__).parent / "results" / "tiers-cpu.json"


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    own = str(FULL_EVERY[Tier.FAST])
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--every", default=own, help=f"N,...; default {own}, the tier's")
    parser.add_argument("--steps", type=int, default=NANO.step_count)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    torch.set_num_threads(1)
    engine = Engine(load(NANO.name, device="cpu"))
    pictures = [open_image(path.read_bytes()) for path in options.photographs]
    exact = [render(engine, picture, seed, options.steps) for seed, picture in enumerate(pictures)]
    rows: dict[str, Any] = {"exact": {"clip_cpu_s": mean_s(exact)}}
    operations = {"exact": tflop(1)}
    for every in map(int, options.every.split(",")):
        FULL_EVERY[Tier.FAST] = every
        rows[f"full_every_{every}"] = row = measure(engine, pictures, exact, options.steps)
        operations[f"full_every_{every}"] = tflop(every)
        print(every, row, flush=True)
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    merge(
        known,
        {
            "model": NANO.name,
            "photographs": [path.name for path in options.photographs],
            "versions": versions(),
            "commit": commit(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "load_average": os.getloadavg()[0],
            f"steps_{options.steps}": rows,
            "svd_xt_clip_tflop": operations,
        },
    )
    options.out.write_text(json.dumps(known, indent=2) + "\n")
    return 0


def render(
    engine: Engine, picture: Image.Image, seed: int, steps: int, tier: Tier = Tier.EXACT
) -> tuple[Clip, float]:
    """A clip and the CPU seconds that it took: the machine may have other work."""
    params = resolve(RenderParams(step_count=steps, tier=tier), NANO, seed=seed)
    began_s = time.process_time()
    clip = engine.render(picture, params)
    return clip, time.process_time() - began_s


def measure(
    engine: Engine, pictures: list[Image.Image], exact: list[tuple[Clip, float]], steps: int
) -> dict[str, Any]:
    """The mean clip of the fast tier as it is defined just now."""
    clips = [
        render(engine, picture, seed, steps, Tier.FAST) for seed, picture in enumerate(pictures)
    ]
    errors = [rmse(a.frames, b.frames) for (a, _), (b, _) in zip(clips, exact, strict=True)]
    return {
        "rmse": round(statistics.mean(errors), 4),
        "rmse_each": [round(error, 4) for error in errors],
        "psnr_db": round(statistics.mean(-20 * math.log10(error) for error in errors), 1),
        "clip_cpu_s": mean_s(clips),
    }


def rmse(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def mean_s(clips: list[tuple[Clip, float]]) -> float:
    return round(statistics.mean(spent_s for _, spent_s in clips), 2)


def tflop(full_every: int) -> float:
    """Of all steps of SVD-XT's own clip."""
    return round(of_clip(*count_steps(SVD_XT), SVD_XT.step_count, full_every) / 1e12, 1)


if __name__ == "__main__":
    raise SystemExit(main())

"""The engine beside diffusers: the guide's script, its torch.compile recipe, and ours.

    python -m benchmarks.bench_engine                              # all there is time for
    python -m benchmarks.bench_engine --parts floor,eager,ours     # some of it; runs add up
    python -m benchmarks.bench_engine --show benchmarks/results/engine-cpu.json

SVD-XT's true architecture with random weights, 25 frames of 1024x576 in 25 steps, float16, on the
first GPU. Without a GPU: model tiny as it is, and the full architecture at 64x64 with 2 frames and
2 steps, float32, uncompiled. Nothing is downloaded, and Ray is not needed. Figures go to
engine-GPU.json in --results as they are measured, over those that are there: a run that was cut
short, or had some --parts only, is completed by the next. docs/BENCHMARKS.md says what each means.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import torch
from diffusers.utils import logging as diffusers_logging

from benchmarks.svd.architecture import KNOWN, Work
from benchmarks.svd.bench import Bench, Budget
from benchmarks.svd.cost import count_cost, floor_s, matmul_rate
from benchmarks.svd.error import measure_error
from benchmarks.svd.gpu import Clocks, forget_peak
from benchmarks.svd.ours import measure_ours
from benchmarks.svd.profiles import measure_profiles
from benchmarks.svd.results import Results
from benchmarks.svd.rewrites import measure_rewrites
from benchmarks.svd.rivals import measure_eager, measure_recipe
from benchmarks.svd.start import measure_start
from benchmarks.svd.table import speed_table, target_table
from farm.jobs.params import SVD_XT, TINY
from farm.render.engine import device_name
from farm.render.versions import versions

# In this order: floor first, as it measures before and after the others.
PARTS = ("floor", "eager", "ours", "recipe", "rewrites", "profiles", "error", "start")
RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    options = parse(arguments)
    if options.show:
        show(json.loads(options.show.read_text(encoding="utf-8")))
        return 0
    logging.basicConfig(level=logging.WARNING)
    diffusers_logging.set_verbosity_error()  # it warns of every module that is made in half
    load = os.getloadavg()[0]
    device = torch.device("cuda:0" if torch.cuda.is_available() and not options.cpu else "cpu")
    gpu = device_name(device)
    results = Results(options.results, gpu)
    results.begin(
        gpu=gpu,
        versions={**versions(), "cuda": torch.version.cuda},
        commit=options.commit or commit(),
        command=" ".join(["python -m benchmarks.bench_engine", *(arguments or sys.argv[1:])]),
        parts=options.parts,
        cores=os.cpu_count(),
        threads=torch.get_num_threads(),
        load_average_before=round(load, 1),  # what else ran: 0 is a machine of one's own
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        note=options.note,
    )
    budget = Budget(options.budget_s)
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as scratch, Clocks() as clocks:
        for work, under in works(options, device):
            folder = Path(scratch) / work.info.name
            folder.mkdir()
            run(Bench(work, results, budget, folder, under), options)
    host_gib = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    spent_s = round(time.monotonic() - budget.started)
    results.of_run(clocks=clocks.seen, host_peak_gib=host_gib, spent_s=spent_s)
    show(results.figures)
    return 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def parts(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := sorted(set(chosen) - set(PARTS)):
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)} is no part; allowed: {', '.join(PARTS)}"
            )
        return chosen

    add = parser.add_argument
    add("--parts", type=parts, default=list(PARTS), help=f"some of {','.join(PARTS)}")
    add("--results", type=Path, default=RESULTS, help="the folder of the figures")
    add("--budget-s", type=float, default=3600, help="what does not fit in is left out")
    add("--model", choices=sorted(KNOWN), help="one model alone")
    add("--size", help="WIDTHxHEIGHTxFRAMES instead of the model's own")
    add("--steps", type=int, help="denoising steps of a clip")
    add("--clips", type=int, default=5, help="images and seeds that a period is the mean of")
    add("--error-steps", type=int, help="steps of the clips whose error is measured")
    add("--error-clips", type=int, default=4)
    add("--matmul-s", type=float, default=10, help="of the matrix products before and after")
    add("--compiled", action="store_true", help="compile in rewrites, profiles and error too")
    add("--cpu", action="store_true", help="not on the GPU")
    add("--commit", help="of the code, where there is no git to ask")
    add("--note", help="to be kept with this run's figures")
    add("--show", type=Path, metavar="FILE", help="print the tables of a file, measure nothing")
    return parser.parse_args(arguments)


def works(options: argparse.Namespace, device: torch.device) -> list[tuple[Work, tuple[str, ...]]]:
    """What to measure, and where in the file it belongs: SVD-XT's figures on its first level."""
    on_gpu = device.type == "cuda"
    names = (
        [options.model] if options.model else [SVD_XT.name] if on_gpu else [TINY.name, SVD_XT.name]
    )
    made = []
    for name in names:
        info = KNOWN[name]
        if name == SVD_XT.name and not on_gpu:
            info = dataclasses.replace(info, width_px=64, height_px=64, frame_count=2, step_count=2)
        if options.size:
            width, height, frames = map(int, options.size.split("x"))
            info = dataclasses.replace(info, width_px=width, height_px=height, frame_count=frames)
        info = dataclasses.replace(info, step_count=options.steps or info.step_count)
        dtype = torch.float16 if on_gpu else torch.float32
        under = () if name == SVD_XT.name else (name,)
        made.append((Work(info, device, dtype, options.clips), under))
    return made


def run(bench: Bench, options: argparse.Namespace) -> None:
    """All parts of one model."""
    work, chosen = bench.work, options.parts
    print(f"\n{work.to_json()}", flush=True)
    cost = count_cost(work.info)
    clip = cost.of_clip(work.info.step_count)
    bench.add(work=work.to_json(), tflop={"clip": round(clip / 1e12, 4), **cost.to_json()})
    rates: list[float] = []

    def measure_rate() -> None:
        with Clocks() as clocks:
            side = 8192 if work.on_gpu else 1024
            rates.append(matmul_rate(work.device, work.dtype, side, options.matmul_s))
        told = {"tflop_s": [round(rate / 1e12, 4) for rate in rates], "side": side}
        bench.add(floor_s=round(floor_s(clip, rates), 4), matmul=told)
        bench.add(matmul={f"clocks_{len(rates)}": clocks.seen})
        forget_peak(work.device)

    def measure_errors() -> None:
        measure_error(bench, options.error_steps, options.error_clips, compiled)

    compiled = options.compiled and work.on_gpu
    measures: dict[str, Callable[[], None]] = {
        "floor": measure_rate,
        "eager": lambda: measure_eager(bench),
        "ours": lambda: measure_ours(bench),
        "recipe": lambda: measure_recipe(bench),
        "rewrites": lambda: measure_rewrites(bench, compiled),
        "profiles": lambda: measure_profiles(bench, compiled),
        "error": measure_errors,
        "start": lambda: measure_start(bench),
    }
    for part in PARTS:
        if part not in chosen or not bench.has_time(30 if work.on_gpu else 0, part):
            continue
        print(f"\n{part}, {bench.budget.left_s:.0f} s left", flush=True)
        try:
            measures[part]()
        except Exception as error:  # the other parts' figures are not to be lost
            bench.leave_out(part, f"{type(error).__name__}: {error}"[:300])
            logging.exception("%s failed", part)
        forget_peak(work.device)
    if "floor" in chosen and len(chosen) > 1 and bench.has_time(options.matmul_s, "floor, after"):
        measure_rate()


def show(figures: dict[str, object]) -> None:
    """The tables of a file."""
    print(f"\n{figures['gpu']}, SVD-XT\n\n{speed_table(figures)}")
    if figures["gpu"] != "cpu":  # a GPU's targets
        print(f"\n{target_table(figures)}")
    if isinstance(tiny := figures.get(TINY.name), dict):
        print(f"\n{TINY.name}\n\n{speed_table(tiny)}")


def commit() -> str:
    """Of the code, with a mark where it has changed since; unknown without git."""
    here = Path(__file__).parent
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return told.stdout.strip()


if __name__ == "__main__":
    raise SystemExit(main())

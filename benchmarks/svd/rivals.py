"""The guide's script, as it is and with its torch.compile recipe."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import StableVideoDiffusionPipeline
from diffusers.utils import export_to_video
from PIL import Image

from benchmarks.svd.architecture import Work, make_model
from benchmarks.svd.bench import Bench
from benchmarks.svd.cost import wait
from benchmarks.svd.gpu import forget_peak, peak_gib
from farm.jobs.params import SVD_XT, RenderParams, resolve
from farm.render.encode import encode
from farm.render.load import Model

CHUNK = 8  # the guide's
RECIPE = "torch.compile(pipe.unet, mode='reduce-overhead', fullgraph=True)"


class Guide:
    """diffusers' pipeline of a model, used as the guide uses it."""

    def __init__(self, model: Model, work: Work) -> None:
        self.work = work
        self.is_finite: bool | None = None  # of the last clip whose stages were measured
        self.pipe: Any = StableVideoDiffusionPipeline(
            vae=model.vae,
            image_encoder=model.image_encoder,
            unet=model.unet,
            scheduler=model.scheduler,
            feature_extractor=model.feature_extractor,
        )
        self.pipe.to(work.device)
        self.pipe.set_progress_bar_config(disable=True)

    def frames(self, image: Image.Image, seed: int, **options: Any) -> Any:
        """What the pipeline makes of a picture; PIL images unless `output_type` says otherwise."""
        info = self.work.info
        settings = {
            "width": info.width_px,
            "height": info.height_px,
            "num_frames": info.frame_count,
            "num_inference_steps": info.step_count,
            "decode_chunk_size": CHUNK,
            "generator": torch.Generator("cpu").manual_seed(seed),
        }
        with quiet_numpy():
            return self.pipe(image, **(settings | options)).frames[0]

    def clip(self, image: Image.Image, seed: int, path: Path) -> float:
        """Seconds from picture to video file."""
        started = time.perf_counter()
        write_video(self.frames(image, seed), path)
        return time.perf_counter() - started

    def stages_ms(self, image: Image.Image, seed: int, path: Path) -> dict[str, float]:
        """Milliseconds of each stage of a clip that waits for the GPU after each."""
        spent = {"encode": 0.0, "decode": 0.0}
        names = {
            "_encode_image": "encode",
            "_encode_vae_image": "encode",
            "decode_latents": "decode",
        }
        originals = {name: getattr(self.pipe, name) for name in names}

        def timed(name: str) -> Any:
            def call(*args: Any, **options: Any) -> Any:
                wait(self.work.device)
                started = time.perf_counter()
                made = originals[name](*args, **options)
                wait(self.work.device)
                spent[names[name]] += time.perf_counter() - started
                self.is_finite = bool(torch.isfinite(made).all())  # the decoder's is the last
                return made

            return call

        ends: list[float] = []

        def on_step(_pipe: Any, _index: int, _time: Any, given: Any) -> Any:
            wait(self.work.device)
            ends.append(time.perf_counter())
            return given

        for name in names:
            setattr(self.pipe, name, timed(name))
        try:
            frames = self.frames(image, seed, callback_on_step_end=on_step)
        finally:
            for name, original in originals.items():
                setattr(self.pipe, name, original)
        started = time.perf_counter()
        write_video(frames, path)
        spent["video"] = time.perf_counter() - started
        if len(ends) > 1:  # the first step's beginning is not known
            spent["step"] = (ends[-1] - ends[0]) / (len(ends) - 1)
        return {name: round(1000 * seconds, 2) for name, seconds in spent.items()}


def measure_eager(bench: Bench) -> None:
    """The guide's script without compilation."""
    forget_peak(bench.work.device)
    guide = Guide(make_model(bench.work), bench.work)
    first_s = guide.clip(bench.picture(0), 0, bench.path("eager"))
    bench.add(video_encoder={"eager": video_encoder()})
    measure(bench, guide, "eager", first_s)


def measure_recipe(bench: Bench) -> None:
    """The guide's script with its one line of torch.compile, or with what of it runs."""
    work = bench.work
    if not work.on_gpu:
        bench.leave_out("recipe", "CUDA graphs need a GPU")
        return
    if not bench.has_time(240, "recipe"):
        return
    torch._dynamo.reset()
    forget_peak(work.device)
    guide = Guide(make_model(work), work)
    stock, mode = guide.pipe.unet, "reduce-overhead"
    guide.pipe.unet = torch.compile(stock, mode=mode, fullgraph=True)
    try:
        first_s = guide.clip(bench.picture(0), 0, bench.path("recipe"))
        second_s = guide.clip(bench.picture(1), 1, bench.path("recipe"))
    except Exception as error:  # noqa: BLE001 - whatever another image brings up
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        bench.add(recipe={"reduce_overhead_raised": said})
        torch._dynamo.reset()
        mode = "default"
        guide.pipe.unet = torch.compile(stock, fullgraph=True)
        first_s = guide.clip(bench.picture(0), 0, bench.path("recipe"))
        second_s = guide.clip(bench.picture(1), 1, bench.path("recipe"))
    bench.add(recipe={"mode": mode, "first_clip_s": round(first_s, 1)})
    measure(bench, guide, "recipe", second_s)
    torch._dynamo.reset()  # and with it the memory of its graphs


def measure(bench: Bench, guide: Guide, name: str, warm_s: float) -> None:
    """Period, stages and memory of a pipeline that is warm."""
    spent = []
    for seed in range(1, bench.work.clip_count + 1):
        if spent and not bench.has_time(1.5 * warm_s, f"{name}, clip {seed}"):
            break
        spent.append(guide.clip(bench.picture(seed), seed, bench.path(name)))
    mean = sum(spent) / len(spent)
    bench.add(
        clip_s={name: round(mean, 3)},
        clips_s={name: [round(each, 3) for each in spent]},
        lone_s={name: round(mean, 3)},  # the script does one thing after the other
        peak_gib={name: peak_gib(bench.work.device)},
    )
    if bench.has_time(2 * warm_s, f"{name}, stages"):
        stages = guide.stages_ms(bench.picture(0), 0, bench.path(name))
        if "step" in stages:
            bench.add(step_ms={name: stages.pop("step")})
        bench.add(stage_ms={name: stages}, finite={name: guide.is_finite})


def write_video(frames: Any, path: Path) -> None:
    """As the guide does; without imageio, which diffusers then lacks, as the farm does."""
    if video_encoder() == "export_to_video":
        export_to_video(frames, str(path), fps=7)
        return
    stacked = np.stack([np.asarray(frame, np.float32) / 255 for frame in frames])
    encode(stacked, resolve(RenderParams(), SVD_XT, seed=0), {}, path)


def video_encoder() -> str:
    """What writes the guide's video here."""
    try:
        import imageio  # noqa: F401
    except ImportError:
        return "farm.render.encode: imageio is not installed"
    return "export_to_video"


@contextlib.contextmanager
def quiet_numpy() -> Iterator[None]:
    """numpy 2 and torch about each other, at diffusers' np.array(tensor)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        yield

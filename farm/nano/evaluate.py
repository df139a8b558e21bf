"""Measures `nano` on eight photographs that training never saw, and writes the table.

    python -m farm.nano.evaluate --out farm/nano/EVALUATION.md

The photographs are those that scikit-image, scikit-learn and matplotlib ship, their centre squares
reduced to 128 pixels (Lanczos). Motion is measured with scikit-image's optical flow, on nano's
clips and on clips as training saw them, with the same settings.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.registration import optical_flow_ilk

from farm.jobs.params import NANO, RenderParams, resolve
from farm.render import cpu
from farm.render.engine import Engine
from farm.render.load import Model, load

Frames = NDArray[np.float32]  # (frame, height, width, channel) in [0, 1]

PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "grace_hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
BUCKETS = (20, 127, 220)
NOISE_STRENGTHS = (0.02, 0.1, 0.5)
SEEDS = (1, 2)
OTHER_SIZE = (160, 96)  # width, height


@dataclass(frozen=True)
class Row:
    """One line of the table: a figure for each photograph."""

    name: str
    unit: str
    values: tuple[float, ...]

    def __str__(self) -> str:
        mean, low, high = np.mean(self.values), min(self.values), max(self.values)
        return f"| {self.name} | {mean:.2f} {self.unit} | {low:.2f} | {high:.2f} |"


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m farm.nano.evaluate", description=__doc__)
    parser.add_argument("--model", default=NANO.name, help="nano, or a folder")
    parser.add_argument("--out", type=Path, help="where the table goes besides the terminal")
    parser.add_argument("--photographs", type=int, default=len(PHOTOGRAPHS), help="only the first")
    options = parser.parse_args(arguments)
    cpu.keep_freed_memory()
    model = load(options.model)
    names = list(PHOTOGRAPHS)[: options.photographs]
    lines = [*_header(names), *(str(row) for row in _announced(measure(model, names)))]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0


def measure(model: Model, names: Sequence[str]) -> Iterator[Row]:
    """The rows of the table, each as soon as it is known."""
    photographs = [photograph(name) for name in names]
    squares = [centre(picture, NANO.width_px, NANO.height_px) for picture in photographs]
    engine = Engine(model)

    def row(name: str, unit: str, values: Sequence[float]) -> Row:
        return Row(name, unit, tuple(float(value) for value in values))

    yield row(
        "VAE: picture through latents and back", "dB", [_round_trip(model, s) for s in squares]
    )
    started = time.perf_counter()
    clips = {(127, SEEDS[0]): [render(engine, square, seed=SEEDS[0]) for square in squares]}
    seconds = (time.perf_counter() - started) / len(squares)
    for strength in NOISE_STRENGTHS:
        first = (
            clips[127, SEEDS[0]]
            if strength == NOISE_STRENGTHS[0]
            else [render(engine, s, noise_aug_strength=strength, seed=SEEDS[0]) for s in squares]
        )
        values = [psnr(clip[0], s) for clip, s in zip(first, squares, strict=True)]
        yield row(f"first frame to the photograph, noise_aug_strength {strength}", "dB", values)
    again = render(engine, squares[0], seed=SEEDS[0])
    same = float(np.abs(again - clips[127, SEEDS[0]][0]).max())
    yield row("same seed again, largest difference", "", [same])
    for bucket in BUCKETS:
        for seed in SEEDS:
            if (bucket, seed) not in clips:
                clips[bucket, seed] = [
                    render(engine, s, motion_bucket_id=bucket, seed=seed) for s in squares
                ]
        moved = np.mean([[motion_px(c) for c in clips[bucket, seed]] for seed in SEEDS], axis=0)
        yield row(f"motion at motion_bucket_id {bucket}, over {len(SEEDS)} seeds", "px", moved)
    first_seed, second_seed = (clips[127, seed] for seed in SEEDS)
    apart = [psnr(a[-1], b[-1]) for a, b in zip(first_seed, second_seed, strict=True)]
    yield row("last frames of two seeds to each other", "dB", apart)
    yield row(
        "jerk: change of motion in the clip, of its motion", "", [jerk(c) for c in first_seed]
    )
    for frame_count in (14, 25):
        for size in ((NANO.width_px, NANO.height_px), OTHER_SIZE):
            if frame_count == 14 and size == (NANO.width_px, NANO.height_px):
                continue
            fitted = [centre(picture, *size) for picture in photographs]
            longer = [render(engine, f, frame_count=frame_count, seed=SEEDS[0]) for f in fitted]
            values = [psnr(clip[0], f) for clip, f in zip(longer, fitted, strict=True)]
            label = f"{frame_count} frames, {size[0]}x{size[1]}: first frame to the photograph"
            yield row(label, "dB", values)
            yield row(
                f"{frame_count} frames, {size[0]}x{size[1]}: motion",
                "px",
                [motion_px(c) for c in longer],
            )
    yield row(f"a clip of 14 frames, {torch.get_num_threads()} threads", "s", [seconds])


def photograph(name: str) -> Image.Image:
    """One of PHOTOGRAPHS, from the package that ships it."""
    package, path = PHOTOGRAPHS[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is missing: pip install -r requirements/nano.txt")
    with Image.open(Path(spec.origin).parent / path) as opened:
        return opened.convert("RGB")


def centre(picture: Image.Image, width_px: int, height_px: int) -> Image.Image:
    """The largest part of that shape in the middle, reduced to it."""
    scale = min(picture.width / width_px, picture.height / height_px)
    width, height = width_px * scale, height_px * scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    box = (left, top, left + width, top + height)
    return picture.resize((width_px, height_px), Image.Resampling.LANCZOS, box=box)


def render(engine: Engine, picture: Image.Image, *, seed: int, **settings: float) -> Frames:
    """The clip of `picture` at its own size, with nano's defaults but for `settings`."""
    wanted = RenderParams(width_px=picture.width, height_px=picture.height)
    params = resolve(replace(wanted, **settings), engine.model.info, seed)  # type: ignore[arg-type]
    return engine.render(picture, params).frames


def psnr(frame: Frames, original: Image.Image | Frames) -> float:
    """Peak signal-to-noise ratio, dB."""
    wanted = original if isinstance(original, np.ndarray) else np.asarray(original) / 255
    return float(-10 * np.log10(np.square(frame - wanted).mean()))


def motion_px(clip: Frames) -> float:
    """The mean length of the optical flow from a frame to the next, pixels."""
    return float(np.mean([np.hypot(*flow).mean() for flow in _flows(clip)]))


def jerk(clip: Frames) -> float:
    """How much the flow changes from frame to frame, as a share of its length; 0 is smooth."""
    flows = list(_flows(clip))
    changes = [np.hypot(*(b - a)).mean() for a, b in pairwise(flows)]
    return float(np.mean(changes) / max(motion_px(clip), 1e-6))


def _flows(clip: Frames) -> Iterator[NDArray[np.float32]]:
    grey = clip.mean(axis=-1)
    for before, after in pairwise(grey):
        yield optical_flow_ilk(before, after, radius=7)


@torch.no_grad()
def _round_trip(model: Model, picture: Image.Image) -> float:
    pixels = torch.from_numpy(np.asarray(picture) / np.float32(127.5) - 1)
    latents = model.vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist.mode()
    copy = model.vae.decode(latents, num_frames=1).sample[0].permute(1, 2, 0)
    return psnr((copy.clamp(-1, 1) / 2 + 0.5).numpy(), picture)


def _header(names: Sequence[str]) -> list[str]:
    return [
        f"Photographs that training never saw: {', '.join(names)}.",
        f"{os.cpu_count()} CPU cores, torch {torch.__version__}, {NANO.step_count} steps.",
        "",
        "| what | mean | least | most |",
        "|---|---|---|---|",
    ]


def _announced(rows: Iterator[Row]) -> Iterator[Row]:
    for row in rows:
        print(row, file=sys.stderr, flush=True)
        yield row


if __name__ == "__main__":
    sys.exit(main())

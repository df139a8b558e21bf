"""What each codec costs and keeps, beside diffusers' own export_to_video.

    pip install imageio
    python benchmarks/bench_codecs.py PHOTO... --out benchmarks/results/codecs.json

Each photograph becomes a clip as SVD makes them, 25 frames of 1024x576: the camera moves over it
and nearer, and every frame has a grain of its own. PSNR is of RGB, decoded as a player does that
takes BT.709 for granted, and as one that takes what the file says; CPU seconds are of encoding one
clip. export_to_video gets the same frames as the pipeline's output_type "np" gives them.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import imageio
import numpy as np
from diffusers.utils import export_to_video
from PIL import Image

from farm.jobs.codec import Codec
from farm.jobs.params import SVD_XT, RenderParams, resolve
from farm.render import ffmpeg
from farm.render.encode import encode, to_8_bit
from farm.render.probe import read_pictures
from farm.render.versions import versions

Frames = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

GRAIN = 1.5 / 255
_BT709 = "in_color_matrix=bt709:in_range=tv:"


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    options = parser.parse_args()
    clips = [film(path, seed) for seed, path in enumerate(options.photographs)]
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bench-codecs-") as folder:
        for codec in Codec:
            path = Path(folder) / f"{codec}.{codec.container}"
            params = resolve(RenderParams(codec=codec), SVD_XT, seed=0)
            rows[codec] = {"crf": params.crf, **measure(clips, path, farm(params))}
        for quality in (5, 10):
            path = Path(folder) / f"q{quality}.mp4"
            rows[f"export_to_video, quality {quality}"] = measure(clips, path, diffusers(quality))
    figures = {
        "clips": [path.name for path in options.photographs],
        "frames": f"{SVD_XT.frame_count} of {SVD_XT.width_px}x{SVD_XT.height_px}",
        "codecs": rows,
        "versions": {**versions(), "imageio": imageio.__version__},
        "date": datetime.now(UTC).date().isoformat(),
    }
    text = json.dumps(figures, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def film(path: Path, seed: int) -> Frames:
    """(frame, height, width, channel) in [0, 1]: over the photograph and nearer, with grain."""
    with Image.open(path) as opened:
        photo = opened.convert("RGB")
    width, height = SVD_XT.width_px, SVD_XT.height_px
    scale = 1.35 * max(width / photo.width, height / photo.height)
    photo = photo.resize((round(photo.width * scale), round(photo.height * scale)))
    grain = np.random.default_rng(seed)
    frames = []
    for index in range(SVD_XT.frame_count):
        moved = index / (SVD_XT.frame_count - 1)
        near = 1 - 0.12 * moved
        left = moved * 0.6 * (photo.width - width)
        top = moved * 0.4 * (photo.height - height)
        box = (left, top, left + width * near, top + height * near)
        seen = photo.resize((width, height), Image.Resampling.BICUBIC, box=box)
        noise = grain.normal(0, GRAIN, (height, width, 1))
        frames.append(np.clip(np.asarray(seen, np.float32) / 255 + noise, 0, 1))
    return np.stack(frames).astype(np.float32)


def farm(params: RenderParams) -> Callable[[Frames, Path], None]:
    return lambda frames, path: encode(frames, params, {}, path)


def diffusers(quality: float) -> Callable[[Frames, Path], None]:
    def write(frames: Frames, path: Path) -> None:
        export_to_video(list(frames), str(path), fps=7, quality=quality)

    return write


def measure(clips: list[Frames], path: Path, write: Callable[[Frames, Path], None]) -> Any:
    found = []
    for frames in clips:
        before_s = cpu_s()
        write(frames, path)
        spent_s = cpu_s() - before_s
        size_mb = path.stat().st_size / 1e6
        as_bt709, as_told = psnr_db(frames, path, _BT709), psnr_db(frames, path, "")
        found.append((size_mb, spent_s, as_bt709, as_told))
    size_mb, spent_s, as_bt709, as_told = (
        statistics.mean(column) for column in zip(*found, strict=True)
    )
    return {
        "size_mb": round(size_mb, 2),
        "cpu_s": round(spent_s, 1),
        "psnr_as_bt709_db": plain(as_bt709),
        "psnr_as_told_db": plain(as_told),
        "worst_psnr_as_bt709_db": plain(min(row[2] for row in found)),
    }


def plain(psnr: float) -> float | str:
    return "lossless" if math.isinf(psnr) else round(psnr, 1)


def psnr_db(frames: Frames, path: Path, matrix: str) -> float:
    """Against the frames in 8 bits, over the whole clip; infinite where nothing differs."""
    wanted = np.stack([to_8_bit(frame) for frame in frames]).astype(np.float32)
    error = float(np.mean((wanted - decode(path, matrix, wanted.shape)) ** 2))
    return 10 * math.log10(255**2 / error) if error else math.inf


def decode(path: Path, matrix: str, shape: tuple[int, ...]) -> Frames:
    if path.suffix == ".zip":
        return np.stack(list(read_pictures(path))).astype(np.float32)
    if path.suffix == ".mkv":  # RGB, which has no matrix
        matrix = ""
    done = subprocess.run(
        [
            *(ffmpeg.binary(), "-v", "error", "-i", path),
            *("-vf", f"scale={matrix}flags=accurate_rnd+full_chroma_int"),
            *("-f", "rawvideo", "-pix_fmt", "rgb24", "-"),
        ],
        capture_output=True,
        check=True,
    )
    return np.frombuffer(done.stdout, np.uint8).reshape(shape).astype(np.float32)


def cpu_s() -> float:
    """Of this process and those it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


if __name__ == "__main__":
    raise SystemExit(main())

"""`farm render`: the engine in this process, without a farm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from farm.cli.options import Overwrite


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(render)


def _number(metavar: str, text: str) -> Any:
    return typer.Option(metavar=metavar, help=text, show_default=False)


def render(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Paths, globs, http(s) or data URLs.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the clips go.")],
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="svd, svd-xt, nano, tiny or a folder.  [default: svd-xt on a GPU, else nano]",
            show_default=False,
        ),
    ] = None,
    size: Annotated[str | None, _number("WxH", "Multiples of 8.  [default: the model's]")] = None,
    fit: Annotated[
        str | None, _number("crop|pad|stretch", "How another shape meets it.  [default: crop]")
    ] = None,
    frames: Annotated[int | None, _number("N", "1 to 128.  [default: the model's]")] = None,
    steps: Annotated[int | None, _number("N", "1 to 200.  [default: the model's]")] = None,
    fps: Annotated[int | None, _number("N", "Conditions the motion.  [default: 7]")] = None,
    playback_fps: Annotated[int | None, _number("N", "Of the video.  [default: fps]")] = None,
    motion_bucket_id: Annotated[
        int | None, _number("N", "0 to 255; more is more motion.  [default: 127]")
    ] = None,
    noise_aug_strength: Annotated[
        float | None, _number("X", "More is further from the image.  [default: 0.02]")
    ] = None,
    min_guidance_scale: Annotated[
        float | None, _number("X", "Of the first frame.  [default: 1]")
    ] = None,
    max_guidance_scale: Annotated[
        float | None, _number("X", "Of the last frame.  [default: 3]")
    ] = None,
    decode_chunk_size: Annotated[
        int | None, _number("N", "Frames decoded at a time.  [default: all]")
    ] = None,
    seed: Annotated[int | None, _number("N", "[default: drawn, one for each image]")] = None,
    codec: Annotated[
        str | None,
        _number("h264|h265|av1|prores|ffv1|png", "png: zipped frames.  [default: h264]"),
    ] = None,
    crf: Annotated[
        int | None, _number("N", "Less is better.  [default: 17; h265: 18, av1: 24]")
    ] = None,
    tier: Annotated[
        str | None, _number("exact|fast", "fast changes the pixels.  [default: exact]")
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    dtype: Annotated[
        str | None,
        _number("float32|float16|bfloat16", "[default: float16 on a GPU, else float32]"),
    ] = None,
    engine: Annotated[str, typer.Option(metavar="default|compiled|stock")] = "default",
    model_offload: Annotated[
        bool, typer.Option("--model-offload", help="Keep idle modules in main memory.")
    ] = False,
    forward_chunking: Annotated[
        bool, typer.Option("--forward-chunking", help="Less memory in the UNet, slower.")
    ] = False,
    memory: Annotated[
        str,
        typer.Option(
            metavar="auto|fast|balanced|low",
            help="What the GPU's memory is for; auto: by what is free.",
        ),
    ] = "auto",
    deterministic: Annotated[
        bool, typer.Option("--deterministic", help="The same bits for the same receipt; slower.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="CPU threads; changes last bits.", show_default=False
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> int:
    """Render images in this process, without a farm: one clip each."""
    from farm.cli import rendering

    given = {
        "fit": fit,
        "frame_count": frames,
        "step_count": steps,
        "fps": fps,
        "playback_fps": playback_fps,
        "motion_bucket_id": motion_bucket_id,
        "noise_aug_strength": noise_aug_strength,
        "min_guidance_scale": min_guidance_scale,
        "max_guidance_scale": max_guidance_scale,
        "decode_chunk_size": decode_chunk_size,
        "seed": seed,
        "codec": codec,
        "crf": crf,
        "tier": tier,
    }
    return rendering.render(
        rendering.Request(
            images=images,
            folder=out,
            params=rendering.read_params(size, given),
            model=model,
            device=device,
            dtype=dtype,
            engine=engine,
            model_offload=model_offload,
            forward_chunking=forward_chunking,
            memory=memory,
            deterministic=deterministic,
            threads=threads,
            overwrite=overwrite,
        )
    )

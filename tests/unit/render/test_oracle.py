"""Our frames against StableVideoDiffusionPipeline's, in float32 on the CPU.

Those of the stock engine are equal bit for bit, those of the default one to within 1/255.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import StableVideoDiffusionPipeline
from PIL import Image

from farm.jobs.params import TINY, Fit, RenderParams, resolve
from farm.render.engine import Engine
from farm.render.load import Model, load

# The pipeline's own: numpy 2 and torch about each other, at diffusers' np.array(tensor).
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

BASE = {"width_px": 64, "height_px": 64, "frame_count": 3, "step_count": 2, "seed": 1}

COMBINATIONS = [
    {},
    {"seed": 2**63 - 1},
    {"width_px": 72, "height_px": 56},  # no multiple of 16: the UNet resizes inside
    {"width_px": 128, "height_px": 56, "frame_count": 5},
    {"width_px": 64, "height_px": 104, "step_count": 1},
    {"step_count": 7, "noise_aug_strength": 0.0},
    {"fps": 1, "motion_bucket_id": 0},
    {"fps": 30, "motion_bucket_id": 255, "noise_aug_strength": 0.5},
    {"min_guidance_scale": 1.0, "max_guidance_scale": 1.0},
    {"min_guidance_scale": 0.0, "max_guidance_scale": 0.5},
    {"min_guidance_scale": 2.0, "max_guidance_scale": 7.5},
    {"frame_count": 1, "min_guidance_scale": 1.5},
    {"frame_count": 5, "decode_chunk_size": 2},
    {"frame_count": 4, "decode_chunk_size": 1},
    {"frame_count": 4, "decode_chunk_size": 4},
    {"frame_count": 6, "decode_chunk_size": 5, "step_count": 3, "fps": 12},
]


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> StableVideoDiffusionPipeline:
    loaded = StableVideoDiffusionPipeline.from_pretrained(folder)
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.fixture(scope="module")
def engine(model: Model) -> Engine:
    return Engine(model, engine="stock")


@pytest.fixture(scope="module")
def rewritten(model: Model) -> Engine:
    engine = Engine(model)
    assert engine.numerics.engine == "default"
    return engine


def pipeline_frames(pipeline: Any, image: Image.Image, params: RenderParams) -> np.ndarray:
    """The guide's script, with every setting given."""
    assert params.width_px
    assert params.height_px
    assert params.seed is not None
    return pipeline(
        image.resize((params.width_px, params.height_px)),
        height=params.height_px,
        width=params.width_px,
        num_frames=params.frame_count,
        num_inference_steps=params.step_count,
        min_guidance_scale=params.min_guidance_scale,
        max_guidance_scale=params.max_guidance_scale,
        fps=params.fps,
        motion_bucket_id=params.motion_bucket_id,
        noise_aug_strength=params.noise_aug_strength,
        decode_chunk_size=params.decode_chunk_size,
        generator=torch.manual_seed(params.seed),
        output_type="np",
    ).frames[0]


def settings(**given: Any) -> RenderParams:
    return resolve(RenderParams(**{**BASE, "fit": Fit.STRETCH, **given}), TINY, seed=0)


@pytest.mark.parametrize("given", COMBINATIONS, ids=str)
def test_frames_are_the_pipelines(
    engine: Engine, pipeline: Any, picture: Image.Image, given: dict[str, Any]
) -> None:
    params = settings(**given)

    ours = engine.render(picture, params).frames

    assert ours.dtype == np.float32
    assert np.array_equal(ours, pipeline_frames(pipeline, picture, params))


@pytest.mark.parametrize("given", COMBINATIONS, ids=str)
def test_frames_of_the_rewritten_engine_are_the_pipelines_to_within_a_level(
    rewritten: Engine, pipeline: Any, picture: Image.Image, given: dict[str, Any]
) -> None:
    params = settings(**given)

    ours = rewritten.render(picture, params).frames

    assert ours.dtype == np.float32
    assert np.abs(ours - pipeline_frames(pipeline, picture, params)).max() <= 1 / 255


def test_a_single_frame_takes_the_minimum_guidance_where_the_pipeline_fails(
    engine: Engine, pipeline: Any, picture: Image.Image
) -> None:
    # linspace(1, 3, 1) is [1]: nothing to guide, but the pipeline has doubled its batch by then.
    params = settings(frame_count=1, min_guidance_scale=1.0, max_guidance_scale=3.0)
    unguided = settings(frame_count=1, min_guidance_scale=1.0, max_guidance_scale=1.0)

    ours = engine.render(picture, params).frames

    assert np.array_equal(ours, pipeline_frames(pipeline, picture, unguided))
    with pytest.raises(RuntimeError):
        pipeline_frames(pipeline, picture, params)


def test_a_clip_leaves_nothing_behind_for_the_next(
    engine: Engine, pipeline: Any, picture: Image.Image
) -> None:
    first, second = settings(seed=3, step_count=4), settings(seed=4)

    engine.render(picture, first)
    ours = engine.render(picture, second).frames

    assert np.array_equal(ours, pipeline_frames(pipeline, picture, second))


def test_half_precision_is_the_pipelines_too(
    folder: Path, picture: Image.Image, cache_dir: Path
) -> None:
    half = StableVideoDiffusionPipeline.from_pretrained(folder, dtype=torch.float16)
    half.set_progress_bar_config(disable=True)
    ours = Engine(load("tiny", device="cpu", dtype="float16", cache_dir=cache_dir), "stock")
    params = settings()

    frames = ours.render(picture, params).frames

    assert np.array_equal(frames, pipeline_frames(half, picture, params))
    assert ours.model.vae.dtype == torch.float16

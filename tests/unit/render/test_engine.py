from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import SlicedAttnProcessor
from PIL import Image

from farm.jobs.params import TINY, RenderParams, resolve
from farm.render.engine import Engine
from farm.render.errors import ClipNotFinite, ImageRejected, ParamsRejected, RenderCancelled
from farm.render.load import Model, load
from farm.render.rewrite.attention import SelfAttention


@pytest.fixture
def engine(model: Model) -> Engine:
    return Engine(model)


def test_progress_is_told_after_every_step(
    engine: Engine, picture: Image.Image, small: RenderParams
) -> None:
    told: list[tuple[int, int]] = []
    params = dataclasses.replace(small, step_count=4)

    engine.render(picture, params, on_step=lambda done, total: told.append((done, total)))

    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("stop_after", [0, 1, 3])
def test_cancel_stops_before_the_next_step(
    engine: Engine, picture: Image.Image, small: RenderParams, stop_after: int
) -> None:
    steps: list[int] = []
    params = dataclasses.replace(small, step_count=5)

    with pytest.raises(RenderCancelled, match=f"after step {stop_after} of 5"):
        engine.render(
            picture,
            params,
            on_step=lambda done, _: steps.append(done),
            cancelled=lambda: len(steps) >= stop_after,
        )

    assert len(steps) == stop_after


def test_cancel_after_the_last_step_skips_the_decoding(
    engine: Engine, picture: Image.Image, small: RenderParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    decoded: list[int] = []
    monkeypatch.setattr(engine.model.vae, "decode", lambda *_, **__: decoded.append(1))

    with pytest.raises(RenderCancelled):
        engine.render(
            picture,
            small,
            on_step=lambda done, _: steps.append(done),
            cancelled=lambda: len(steps) == small.step_count,
        )

    assert not decoded


def test_an_engine_renders_on_after_a_cancelled_clip(
    engine: Engine, picture: Image.Image, small: RenderParams
) -> None:
    expected = engine.render(picture, small).frames
    with pytest.raises(RenderCancelled):
        engine.render(picture, small, cancelled=lambda: True)

    assert np.array_equal(engine.render(picture, small).frames, expected)


def test_one_seed_gives_one_clip_and_another_seed_another(
    engine: Engine, picture: Image.Image, small: RenderParams
) -> None:
    torch.manual_seed(99)  # the global generator has no say
    first = engine.render(picture, small).frames
    torch.manual_seed(100)

    assert np.array_equal(engine.render(picture, small).frames, first)
    other = engine.render(picture, dataclasses.replace(small, seed=6)).frames
    assert not np.array_equal(other, first)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize(
    ("module", "weight", "what"),
    [("unet", "unet.conv_out.bias", "latents"), ("vae", "decoder.last.bias", "frames")],
)
def test_a_clip_that_is_not_finite_is_an_error(
    engine: Engine,
    picture: Image.Image,
    small: RenderParams,
    poison: float,
    module: str,
    weight: str,
    what: str,
) -> None:
    poisoned = dict(getattr(engine.model, module).named_parameters())[weight]
    healthy = poisoned.detach().clone()
    poisoned.data.fill_(poison)
    try:
        with pytest.raises(ClipNotFinite, match=what) as caught:
            engine.render(picture, small)
    finally:
        poisoned.data.copy_(healthy)

    assert caught.value.reason == "CLIP_NOT_FINITE"


@pytest.fixture
def half(folder: Path, cache_dir: Path) -> Engine:
    return Engine(load("tiny", device="cpu", dtype="float16", cache_dir=cache_dir))


def test_frames_that_half_precision_cannot_hold_are_decoded_again_in_float32(
    half: Engine, picture: Image.Image, small: RenderParams
) -> None:
    assert half.render(picture, small).decode_dtype == "float16"
    last = half.model.vae.decoder.last
    last.bias.data.fill_(60_000)
    last.weight.data.mul_(1e4)

    clip = half.render(picture, small)

    assert clip.decode_dtype == "float32"
    assert np.isfinite(clip.frames).all()
    assert next(half.model.vae.decoder.parameters()).dtype == torch.float16


def test_keys_as_large_as_svds_overflow_nothing(
    half: Engine, picture: Image.Image, small: RenderParams
) -> None:
    # Of SVD's real weights the keys are large (OneDiff: attention summed in half precision fails).
    attentions = [m for m in half.model.unet.modules() if isinstance(m, SelfAttention)]
    assert attentions
    for attention in attentions:
        width = attention.qkv.out_features // 3
        attention.qkv.weight.data[width : 2 * width] *= 1000

    clip = half.render(picture, small)

    assert np.isfinite(clip.frames).all()
    assert clip.decode_dtype == "float16"


def test_a_checkpoint_of_another_structure_renders_with_stock_modules(
    folder: Path,
    cache_dir: Path,
    picture: Image.Image,
    small: RenderParams,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = load("tiny", device="cpu", cache_dir=cache_dir)
    other.unet.set_attn_processor(SlicedAttnProcessor(1))

    engine = Engine(other)

    assert engine.numerics.engine == "stock"
    assert "SlicedAttnProcessor" in caplog.records[-1].because
    assert engine.render(picture, small).frames.shape == (3, 64, 64, 3)


def test_stage_times_cover_the_clip(
    engine: Engine, picture: Image.Image, small: RenderParams
) -> None:
    timings = engine.render(picture, small).timings

    assert all(seconds > 0 for seconds in dataclasses.astuple(timings))


def test_an_unknown_engine_is_refused(model: Model) -> None:
    with pytest.raises(
        ParamsRejected, match="engine is 'turbo'; allowed: default, compiled, stock"
    ):
        Engine(model, engine="turbo")


def test_unresolved_settings_are_refused_by_name(engine: Engine, picture: Image.Image) -> None:
    with pytest.raises(ParamsRejected, match=r"frame_count.*seed.*resolve"):
        engine.render(picture, RenderParams(width_px=64, height_px=64))


def test_settings_out_of_range_are_refused(
    engine: Engine, picture: Image.Image, small: RenderParams
) -> None:
    with pytest.raises(ParamsRejected, match="width_px is 60; allowed: a multiple of 8"):
        engine.render(picture, dataclasses.replace(small, width_px=60))


def test_an_image_with_transparency_has_to_be_opened_first(
    engine: Engine, picture: Image.Image, small: RenderParams
) -> None:
    with pytest.raises(ImageRejected, match="RGBA"):
        engine.render(picture.convert("RGBA"), small)


def test_the_default_clip_of_tiny_is_a_moving_colour_texture(
    engine: Engine, picture: Image.Image
) -> None:
    params = resolve(RenderParams(width_px=128, height_px=72, frame_count=6), TINY, seed=1)

    frames = engine.render(picture, params).frames
    upside_down = engine.render(picture.rotate(180), params).frames
    calmer = engine.render(picture, dataclasses.replace(params, motion_bucket_id=0)).frames

    assert 0.2 < frames.mean() < 0.8
    assert frames.std() > 0.1
    assert frames.std(axis=-1).mean() > 0.02  # not grey
    assert 0.01 < np.abs(np.diff(frames, axis=0)).mean() < frames.std()
    assert np.abs(frames - upside_down).mean() > 0.02
    assert np.abs(frames - calmer).mean() > 0.001

"""Previews: they look like the clip, stay small, and change nothing."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from numpy.typing import NDArray
from PIL import Image
from torch.nn.functional import interpolate

from farm.jobs.params import PREVIEW_LIMIT_BYTES, RenderParams
from farm.render.condition import encode_image
from farm.render.engine import Engine
from farm.render.fake import FakeRenderer
from farm.render.folder import NANO_FOLDER
from farm.render.latent_colours import draw_preview, fit_colours
from farm.render.load import Model
from farm.render.memory import Memory
from farm.render.preview import Previews, make_jpeg, pick
from tests.running import IMAGES


def pixels(jpeg: bytes) -> NDArray[np.uint8]:
    picture = Image.open(io.BytesIO(jpeg))
    assert picture.format == "JPEG"
    return np.array(picture)


@pytest.mark.parametrize("memory", [Memory(), Memory(model_offload=True)])
def test_frames_are_bit_for_bit_those_of_a_clip_without_previews(
    model: Model, picture: Image.Image, small: RenderParams, memory: Memory
) -> None:
    params = dataclasses.replace(small, step_count=4)
    plain = Engine(model).render(picture, params).frames
    shown: list[bytes] = []
    engine = Engine(model, memory=memory)
    previews = Previews(lambda: True, shown.append)

    for _ in range(2):  # the first fits the colours
        assert np.array_equal(engine.render(picture, params, previews=previews).frames, plain)

    assert len(shown) == 8
    assert shown[:4] == shown[4:]
    assert pixels(shown[0]).shape == (8, 3 * 8, 3)


def test_a_preview_is_made_only_when_it_is_wanted_and_before_its_step_is_told(
    model: Model, picture: Image.Image, small: RenderParams
) -> None:
    happened: list[str] = []
    params = dataclasses.replace(small, step_count=3)
    previews = Previews(lambda: happened[-1:] == ["step 1"], lambda _: happened.append("preview"))

    Engine(model).render(
        picture,
        params,
        on_step=lambda step, _: happened.append(f"step {step}"),
        previews=previews,
    )

    assert happened == ["step 1", "preview", "step 2", "step 3"]


def test_colours_are_fitted_once(
    model: Model, picture: Image.Image, small: RenderParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[Model] = []

    def fit(model: Model) -> torch.Tensor:
        fitted.append(model)
        return fit_colours(model)

    monkeypatch.setattr("farm.render.engine.fit_colours", fit)
    engine, previews = Engine(model), Previews(lambda: False, lambda _: None)

    engine.render(picture, small)
    assert not fitted  # nobody may ask
    engine.render(picture, small, previews=previews)
    engine.render(picture, small, previews=previews)
    assert len(fitted) == 1


def test_the_latents_of_a_photograph_look_like_it(model: Model) -> None:
    vae = AutoencoderKLTemporalDecoder.from_pretrained(
        NANO_FOLDER / "vae", torch_dtype=torch.float32
    )
    trained = dataclasses.replace(model, vae=vae.eval())
    photo = Image.open(IMAGES / "rocket.jpg").convert("RGB").resize((128, 128))
    given = torch.tensor(np.array(photo)).permute(2, 0, 1)[None] / 127.5 - 1

    with torch.no_grad():
        latents = encode_image(trained, given)
        colours = fit_colours(trained)
    shown = pixels(draw_preview(colours, latents)).astype(float)

    assert colours.shape == (16 + 1, 3)
    small = interpolate(given, latents.shape[-2:], mode="area")[0].permute(1, 2, 0)
    wanted = (small.numpy() + 1) * 127.5
    unexplained = np.square(shown - wanted).sum() / np.square(wanted - wanted.mean((0, 1))).sum()
    assert unexplained < 0.1


def test_latents_that_are_no_numbers_make_a_preview_all_the_same(model: Model) -> None:
    with torch.no_grad():
        colours = fit_colours(model)
    latents = torch.full((3, 4, 8, 8), float("nan"))

    assert pixels(draw_preview(colours, latents)).shape == (8, 24, 3)


@pytest.mark.parametrize(("frame_count", "picked"), [(1, [0]), (2, [0, 1]), (25, [0, 12, 24])])
def test_the_first_a_middle_and_the_last_frame_are_shown(
    frame_count: int, picked: list[int]
) -> None:
    assert pick(frame_count) == picked


@pytest.mark.parametrize(("side", "width"), [(72, 216), (256, 384)])
def test_noise_stays_below_the_limit(side: int, width: int) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, side, side, 3))

    jpeg = make_jpeg(noise)

    assert len(jpeg) <= PREVIEW_LIMIT_BYTES
    assert pixels(jpeg).shape[1] == width


def test_the_fake_renderer_shows_its_gradient(small: RenderParams) -> None:
    shown: list[bytes] = []

    image = Path(IMAGES / "rocket.jpg").read_bytes()
    FakeRenderer().render(image, small, previews=Previews(lambda: True, shown.append))

    assert [pixels(jpeg).shape for jpeg in shown] == [(8, 24, 3)] * 2

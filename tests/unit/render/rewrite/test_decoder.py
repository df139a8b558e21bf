"""The decoder in parts against diffusers' of the whole clip."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from farm.render.rewrite.decoder import Decoder, FrameStage, mix_tiles, split_evenly
from farm.render.rewrite.residual import TemporalResidual
from farm.render.rewrite.vae import rewrite_vae
from tests.unit.render.rewrite.conftest import draw
from tests.unit.render.rewrite.test_unet import difference

FRAMES = 5


@pytest.mark.parametrize("values_at_once", [2**30, 100_000, 20_000, 1])
def test_decoding_in_parts_is_decoding_whole(
    vae: Any, dtype: torch.dtype, tolerance: float, values_at_once: int
) -> None:
    latents = draw(FRAMES, 4, 8, 12, dtype=dtype)
    ours = Decoder(vae.decoder)
    ours.values_at_once = values_at_once

    expected = vae.decode(latents, num_frames=FRAMES).sample
    assert difference(ours(latents, num_frames=FRAMES), expected) <= tolerance


def test_decoding_a_few_frames_at_a_time_as_diffusers_does_is_something_else(
    vae: Any, dtype: torch.dtype
) -> None:
    latents = draw(FRAMES, 4, 8, 12, dtype=dtype)
    ours = Decoder(vae.decoder)

    chunked = torch.cat([ours(chunk, num_frames=len(chunk)) for chunk in latents.split(2)])

    assert difference(chunked, ours(latents, num_frames=FRAMES)) > 0.01


def test_fewer_values_mean_fewer_frames_at_a_time(vae: Any, dtype: torch.dtype) -> None:
    latents = draw(FRAMES, 4, 8, 12, dtype=dtype)
    ours = Decoder(vae.decoder)
    most = []
    for stage in ours.stages:
        if isinstance(stage, FrameStage):
            stage.register_forward_pre_hook(lambda _, given: most.append(len(given[0])))
    ours(latents, num_frames=FRAMES)
    assert set(most) == {FRAMES}
    most.clear()

    ours.values_at_once = 1
    ours(latents, num_frames=FRAMES)

    assert set(most) == {1}


@pytest.mark.parametrize("tile_count", [2, 3, 24])
def test_mixing_in_tiles_is_mixing_whole(
    vae: Any, dtype: torch.dtype, tolerance: float, tile_count: int
) -> None:
    for stage in Decoder(vae.decoder).stages:
        if isinstance(stage, TemporalResidual):
            clip = draw(1, stage.norm1.num_channels, FRAMES, 24, dtype=dtype) * 3 + 20
            expected = stage(clip, None)

            assert difference(mix_tiles(stage, clip.clone(), tile_count), expected) <= tolerance


@pytest.mark.parametrize(
    ("count", "at_most", "expected"),
    [
        (25, 25, 25),
        (25, 100, 25),
        (25, 7, 5),
        (25, 9, 5),
        (25, 4, 4),
        (14, 8, 7),
        (23, 8, 8),
        (5, 0, 1),
    ],
)
def test_parts_are_even_where_they_can_be(count: int, at_most: int, expected: int) -> None:
    assert split_evenly(count, at_most) == expected


def test_a_half_vae_encodes_in_float32_and_decodes_in_half(vae: Any) -> None:
    half = vae.to(torch.float16)

    ours = rewrite_vae(half)

    assert {value.dtype for value in ours.encoder.parameters()} == {torch.float32}
    assert {value.dtype for value in ours.decoder.parameters()} == {torch.float16}
    assert {value.dtype for value in half.parameters()} == {torch.float16}

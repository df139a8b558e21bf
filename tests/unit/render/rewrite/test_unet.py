"""Each rewrite against the module of diffusers that it takes the place of."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import SlicedAttnProcessor
from diffusers.models.resnet import SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from diffusers.models.upsampling import Upsample2D
from torch import Tensor

from farm.render.rewrite.context import Context
from farm.render.rewrite.errors import NotRewritable
from farm.render.rewrite.residual import Residual, to_clip
from farm.render.rewrite.transformer import Transformer
from farm.render.rewrite.unet import rewrite_unet
from farm.render.rewrite.upsample import PhaseUpsample
from tests.unit.render.rewrite.conftest import draw

PASSES, FRAMES = 2, 5


def every(module: Any, kind: type) -> list[Any]:
    found = [part for part in module.modules() if isinstance(part, kind)]
    assert found
    return found


def difference(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    return float((ours - theirs).abs().max() / theirs.abs().max())


def inputs(dtype: torch.dtype, height: int = 16, width: int = 24) -> tuple[Tensor, ...]:
    return (
        draw(PASSES, FRAMES, 8, height, width, dtype=dtype),
        torch.tensor(3.3, dtype=torch.float64),
        draw(PASSES, 1, 64, dtype=dtype, seed=2),
        torch.tensor([[6, 127, 0.02]] * PASSES).to(dtype),
    )


def test_residual_blocks_are_the_stock_ones(
    unet: Any, dtype: torch.dtype, tolerance: float
) -> None:
    moment = draw(PASSES * FRAMES, 128, dtype=dtype, seed=3)
    for stock in every(unet, SpatioTemporalResBlock):
        x = draw(PASSES * FRAMES, stock.spatial_res_block.in_channels, 6, 4, dtype=dtype)
        video = torch.zeros(PASSES, FRAMES)

        assert difference(Residual(stock)(x, moment, video), stock(x, moment, video)) <= tolerance


def test_residual_blocks_of_the_decoder_are_the_stock_ones(
    vae: Any, dtype: torch.dtype, tolerance: float
) -> None:
    for stock in every(vae.decoder, SpatioTemporalResBlock):
        x = draw(FRAMES, stock.spatial_res_block.in_channels, 6, 4, dtype=dtype)
        video = torch.zeros(1, FRAMES)

        assert difference(Residual(stock)(x, None, video), stock(x, None, video)) <= tolerance


def test_upsampling_by_phases_is_the_stock_one(
    unet: Any, vae: Any, dtype: torch.dtype, tolerance: float
) -> None:
    for stock in every(unet, Upsample2D) + every(vae.decoder, Upsample2D):
        for height, width in ((6, 10), (5, 7), (1, 3)):
            x = draw(3, stock.channels, height, width, dtype=dtype)

            assert difference(PhaseUpsample(stock)(x), stock(x)) <= tolerance


def test_upsampling_to_a_size_that_is_no_double_is_the_stock_one(
    unet: Any, dtype: torch.dtype, tolerance: float
) -> None:
    stock = every(unet, Upsample2D)[0]
    x = draw(3, stock.channels, 4, 5, dtype=dtype)

    assert difference(PhaseUpsample(stock)(x, (7, 9)), stock(x, (7, 9))) <= tolerance


def test_transformers_are_the_stock_ones(unet: Any, dtype: torch.dtype, tolerance: float) -> None:
    token = draw(PASSES, 1, 64, dtype=dtype, seed=2)
    for stock in every(unet, TransformerSpatioTemporalModel):
        context = Context()
        ours = Transformer(stock, context)
        x = draw(PASSES * FRAMES, stock.in_channels, 6, 4, dtype=dtype)
        video = torch.zeros(PASSES, FRAMES)
        told = context(token).repeat_interleave(FRAMES, 0)

        found = ours(x, told, video)[0]

        expected = stock(x, token.repeat_interleave(FRAMES, 0), video).sample
        assert difference(found, expected) <= tolerance


@pytest.mark.parametrize(("height", "width"), [(16, 24), (8, 8), (10, 12)])
def test_the_whole_unet_is_the_stock_one(
    unet: Any, dtype: torch.dtype, tolerance: float, height: int, width: int
) -> None:
    sample, timestep, token, ids = inputs(dtype, height, width)
    ours, context = rewrite_unet(unet)

    found = ours(sample, timestep, context(token), ids, return_dict=False)[0]

    expected = unet(sample, timestep, token, ids, return_dict=False)[0]
    assert difference(found, expected) <= tolerance


def test_the_token_still_steers(unet: Any, dtype: torch.dtype) -> None:
    sample, timestep, token, ids = inputs(dtype)
    ours, context = rewrite_unet(unet)
    one = ours(sample, timestep, context(token), ids, return_dict=False)[0]

    assert difference(ours(sample, timestep, context(-token), ids, return_dict=False)[0], one) > 0.1


def test_feed_forward_in_chunks_is_the_same(
    unet: Any, dtype: torch.dtype, tolerance: float
) -> None:
    sample, timestep, token, ids = inputs(dtype)
    ours, context = rewrite_unet(unet)
    whole = ours(sample, timestep, context(token), ids, return_dict=False)[0]
    widest = []
    for part in ours.modules():
        if type(part).__name__ == "FeedForward":
            part.register_forward_pre_hook(lambda _, given: widest.append(given[0].shape[0]))

    ours.enable_forward_chunking()
    chunked = ours(sample, timestep, context(token), ids, return_dict=False)[0]

    assert set(widest) == {1}
    assert difference(chunked, whole) <= tolerance


def test_the_stock_unet_stays_as_it_was(unet: Any, dtype: torch.dtype) -> None:
    given = inputs(dtype)
    before = unet(*given, return_dict=False)[0]
    state = {name: value.clone() for name, value in unet.state_dict().items()}

    rewrite_unet(unet)

    assert torch.equal(unet(*given, return_dict=False)[0], before)
    assert all(torch.equal(value, state[name]) for name, value in unet.state_dict().items())


def test_weights_that_stay_are_shared(unet: Any) -> None:
    ours, _ = rewrite_unet(unet)

    assert ours.conv_in.weight is unet.conv_in.weight
    assert not [name for name, _ in ours.named_modules() if name.endswith("attn2")]


def test_a_clip_is_no_copy_of_its_frames(dtype: torch.dtype) -> None:
    frames = draw(PASSES * FRAMES, 8, 4, 6, dtype=dtype).to(memory_format=torch.channels_last)

    clip = to_clip(frames, PASSES, FRAMES)

    assert clip.shape == (PASSES, 8, FRAMES, 24)
    assert clip.data_ptr() == frames.data_ptr()
    assert clip.is_contiguous(memory_format=torch.channels_last)


def test_a_context_is_of_one_token(unet: Any, dtype: torch.dtype) -> None:
    _, context = rewrite_unet(unet)

    with pytest.raises(ValueError, match="4 tokens"):
        context(draw(PASSES, 4, 64, dtype=dtype))


def test_another_attention_is_not_rewritten(unet: Any) -> None:
    unet.set_attn_processor(SlicedAttnProcessor(2))

    with pytest.raises(NotRewritable, match="SlicedAttnProcessor"):
        rewrite_unet(unet)

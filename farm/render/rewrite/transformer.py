"""Transformers over the tokens of a frame and over the frames of a clip."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention import FeedForward
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from torch import Tensor, nn

from farm.render.rewrite.attention import SelfAttention
from farm.render.rewrite.context import Context
from farm.render.rewrite.errors import require
from farm.render.rewrite.residual import spatial_share


class Transformer(nn.Module):
    """In the place of diffusers' TransformerSpatioTemporalModel, and called in the same way, but
    for the context, which has taken the place of the encoder's hidden states.

    Everything but the core of the attention works on each token alone, so the tokens stay in one
    order all through: the stock module turns them round for every temporal block and back.
    """

    def __init__(self, stock: TransformerSpatioTemporalModel, context: Context) -> None:
        super().__init__()
        self.norm = stock.norm
        self.proj_in, self.proj_out = stock.proj_in, stock.proj_out
        self.frame_wave, self.frame_embedding = stock.time_proj, stock.time_pos_embed
        self.spatial_share = spatial_share(stock.time_mixer)
        self.spatial = nn.ModuleList(
            SpatialBlock(block, context) for block in stock.transformer_blocks
        )
        self.temporal = nn.ModuleList(
            TemporalBlock(block, context) for block in stock.temporal_transformer_blocks
        )

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        image_only_indicator: Tensor,
        return_dict: bool = False,
    ) -> tuple[Tensor]:
        """(pass x frame, channel, height, width), the context (pass x frame, token=1, part)."""
        assert not return_dict
        shape = image_only_indicator.shape  # (pass, frame)
        x: Tensor = self.norm(hidden_states).permute(0, 2, 3, 1).flatten(1, 2)
        x = self.proj_in(x)
        wave: Tensor = self.frame_wave(torch.arange(shape[1], device=x.device)).to(x.dtype)
        position = self.frame_embedding(wave)[:, None]  # (frame, 1, channel)
        of_pass = encoder_hidden_states.view(*shape, 1, -1)[:, :1]  # every frame has the same
        share = self.spatial_share
        for spatial, temporal in zip(self.spatial, self.temporal, strict=True):
            x = spatial(x, encoder_hidden_states)
            clip = x.view(*shape, *x.shape[1:])
            moved = temporal(clip + position, of_pass)
            x = (share * clip + (1 - share) * moved).flatten(0, 1)
        x = self.proj_out(x).transpose(1, 2).view(hidden_states.shape)
        return (x + hidden_states,)


class FeedForwardByFrame(nn.Module):
    """diffusers' feed-forward, for all frames at once or, to save memory, one after the other."""

    def __init__(self, stock: FeedForward) -> None:
        super().__init__()
        self.stock = stock
        self.chunk_size: int | None = None

    def set_chunk_feed_forward(self, chunk_size: int | None, dim: int = 0) -> None:
        """What UNetSpatioTemporalConditionModel.enable_forward_chunking calls."""
        self.chunk_size = chunk_size

    def forward(self, x: Tensor) -> Tensor:
        """(…, token, channel)."""
        if self.chunk_size is None:
            return self.stock(x)  # type: ignore[no-any-return]
        frames = torch.split(x.flatten(0, -3), self.chunk_size)
        return torch.cat([self.stock(frame) for frame in frames]).view(x.shape)


class SpatialBlock(nn.Module):
    """Of diffusers' BasicTransformerBlock. Each frame for itself: its tokens see one another, are
    told of the picture, and are thought about one by one."""

    def __init__(self, stock: Any, context: Context) -> None:
        super().__init__()
        plain = stock.norm_type == "layer_norm" and stock.pos_embed is None
        require(plain and not stock.only_cross_attention, "another kind of transformer block")
        require(not hasattr(stock, "fuser"), "a transformer block with gated attention")
        self.norm1, self.norm3 = stock.norm1, stock.norm3
        self.attention = SelfAttention(stock.attn1)
        self.told = context.add(stock.attn2)
        self.feed_forward = FeedForwardByFrame(stock.ff)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`x` is (frame, token, channel), `context` (frame, token=1, all parts)."""
        x = self.attention.over_tokens(self.norm1(x)) + x
        x = self.told.of(context) + x
        out: Tensor = self.feed_forward(self.norm3(x)) + x
        return out


class TemporalBlock(nn.Module):
    """Of TemporalBasicTransformerBlock. Each token for itself, through all frames of its pass."""

    def __init__(self, stock: Any, context: Context) -> None:
        super().__init__()
        require(stock.is_res, "a temporal block that changes its width")
        self.norm_in, self.norm1, self.norm3 = stock.norm_in, stock.norm1, stock.norm3
        self.feed_forward_in = FeedForwardByFrame(stock.ff_in)
        self.attention = SelfAttention(stock.attn1)
        self.told = context.add(stock.attn2)
        self.feed_forward = FeedForwardByFrame(stock.ff)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`x` is (pass, frame, token, channel), `context` (pass, 1, token=1, all parts)."""
        x = self.feed_forward_in(self.norm_in(x)) + x
        x = self.attention.over_frames(self.norm1(x)) + x
        x = self.told.of(context) + x
        out: Tensor = self.feed_forward(self.norm3(x)) + x
        return out

"""Residual blocks: (3, 1, 1) convolutions as two-dimensional ones, the blend in their weights."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.resnet import SpatioTemporalResBlock, TemporalResnetBlock
from torch import Tensor, nn
from torch.nn import functional

from farm.render.rewrite.errors import require


class TemporalResidual(nn.Module):
    """What the frames of a clip tell each other, to be added to what each frame has.

    The stock block blends: a s + (1 - a) (s + f(s)), which is s + (1 - a) f(s). The factor goes
    into f's last convolution. A clip is (pass, channel, frame, pixel) here: a convolution over
    three frames of one pixel has a kernel of (3, 1), and channels-last memory stays as it is.
    """

    def __init__(self, stock: TemporalResnetBlock, mixer: Any) -> None:
        super().__init__()
        require(stock.conv_shortcut is None, "a temporal block with a shortcut")
        require(stock.dropout.p == 0.0, "dropout")
        self.norm1, self.norm2 = stock.norm1, stock.norm2
        self.time = stock.time_emb_proj
        self.conv1 = flatten_conv(stock.conv1)
        self.conv2 = flatten_conv(stock.conv2, scale=1 - spatial_share(mixer))

    def forward(self, clip: Tensor, moment: Tensor | None) -> Tensor:
        """`clip` and result are (pass, channel, frame, pixel); `moment` (pass, frame, channel)."""
        return clip + self.second(self.first(clip, moment))

    def first(self, clip: Tensor, moment: Tensor | None) -> Tensor:
        """Up to the second norm."""
        return self.conv_first(functional.silu(self.norm1(clip)), moment)

    def conv_first(self, activated: Tensor, moment: Tensor | None) -> Tensor:
        """The first convolution, and what the step's noise level adds."""
        hidden: Tensor = self.conv1(activated)
        if self.time is not None:
            assert moment is not None
            added: Tensor = self.time(functional.silu(moment))
            hidden = hidden + added.transpose(1, 2)[..., None]
        return hidden

    def second(self, hidden: Tensor) -> Tensor:
        """From the second norm on."""
        change: Tensor = self.conv2(functional.silu(self.norm2(hidden)))
        return change


class Residual(nn.Module):
    """In the place of diffusers' SpatioTemporalResBlock, and called in the same way."""

    def __init__(self, stock: SpatioTemporalResBlock) -> None:
        super().__init__()
        self.spatial = stock.spatial_res_block
        self.temporal = TemporalResidual(stock.temporal_res_block, stock.time_mixer)

    def forward(
        self,
        hidden_states: Tensor,
        temb: Tensor | None = None,
        image_only_indicator: Tensor | None = None,
    ) -> Tensor:
        """(pass x frame, channel, height, width), `temb` (pass x frame, channel)."""
        assert image_only_indicator is not None
        shape = image_only_indicator.shape  # (pass, frame)
        frames: Tensor = self.spatial(hidden_states, temb)
        moment = None if temb is None else temb.view(*shape, -1)
        return to_frames(self.temporal(to_clip(frames, *shape), moment), frames)


def to_clip(frames: Tensor, pass_count: int, frame_count: int) -> Tensor:
    """(pass x frame, channel, height, width) as (pass, channel, frame, pixel), without a copy."""
    return frames.view(pass_count, frame_count, *frames.shape[1:]).transpose(1, 2).flatten(3)


def to_frames(clip: Tensor, like: Tensor) -> Tensor:
    """The inverse of `to_clip`, for frames that were shaped as `like`."""
    return clip.transpose(1, 2).flatten(0, 1).view(like.shape)


def flatten_conv(stock: nn.Conv3d, scale: float = 1.0) -> nn.Conv2d:
    """A convolution over frames alone as one over (frame, pixel), its result times `scale`.

    The product is taken in float64, and rounded once.
    """
    plain = (stock.kernel_size, stock.stride, stock.padding, stock.dilation, stock.groups)
    wanted = ((3, 1, 1), (1, 1, 1), (1, 0, 0), (1, 1, 1), 1)
    require(plain == wanted, f"a temporal convolution of kernel {stock.kernel_size}")
    with torch.device("meta"):
        flat = nn.Conv2d(stock.in_channels, stock.out_channels, (3, 1), padding=(1, 0))
    dtype = stock.weight.dtype
    flat.weight = nn.Parameter((stock.weight.detach().squeeze(-1).double() * scale).to(dtype))
    assert stock.bias is not None
    flat.bias = nn.Parameter((stock.bias.detach().double() * scale).to(dtype))
    return flat


def spatial_share(mixer: Any) -> float:
    """How much of an AlphaBlender's sum is the picture's own; no frame of ours is a still image."""
    require(mixer.merge_strategy in {"learned", "learned_with_images"}, mixer.merge_strategy)
    share = float(torch.sigmoid(mixer.mix_factor.detach().double()))
    return 1 - share if mixer.switch_spatial_to_temporal_mix else share

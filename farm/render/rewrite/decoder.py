"""The VAE's decoder, in parts that are as small as memory asks for and still exact.

diffusers decodes a few frames at a time to save memory, and then neither the convolutions over
frames nor the norms over all of a clip see past the end of a chunk: the pixels differ, and flicker
at the seams. Here only what treats each frame for itself runs on a few frames at a time. What mixes
frames treats each pixel for itself, but for its norms, so that it runs on a few pixels at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import TemporalDecoder
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional

from farm.render.rewrite.residual import TemporalResidual, flatten_conv, to_clip, to_frames
from farm.render.rewrite.upsample import PhaseUpsample

# 2 GiB in half precision; cuDNN and torch count a tensor's values in 32 bits.
VALUES_AT_ONCE = 2**30


class Decoder(nn.Module):
    """In the place of diffusers' TemporalDecoder, and called in the same way.

    `values_at_once` bounds the values of one intermediate tensor of what treats frames for
    themselves; what mixes frames holds the whole clip and, where that has more than twice as many,
    computes its first half twice instead of keeping it.
    """

    def __init__(self, stock: TemporalDecoder) -> None:
        super().__init__()
        self.values_at_once = VALUES_AT_ONCE
        self.stages = nn.ModuleList(_stages(stock))
        self.last = flatten_conv(stock.time_conv_out)

    def forward(
        self, sample: Tensor, image_only_indicator: Any = None, num_frames: int = 1
    ) -> Tensor:
        """Latents (frame, channel, height, width) of one clip to its pictures, about [-1, 1]."""
        assert num_frames == len(sample)
        x = sample
        for stage in self.stages:
            if isinstance(stage, TemporalResidual):
                clip = to_clip(x, 1, num_frames)
                tile_count = math.ceil(clip.numel() / (2 * self.values_at_once))
                tile_count = min(tile_count, clip.shape[-1])
                mixed = stage(clip, None) if tile_count == 1 else mix_tiles(stage, clip, tile_count)
                x = to_frames(mixed, x)
            else:
                x = self._by_frames(stage, x)
        return to_frames(self.last(to_clip(x, 1, num_frames)), x)

    def _by_frames(self, stage: Any, x: Tensor) -> Tensor:
        chunks = torch.split(x, split_evenly(len(x), self.values_at_once // stage.values_of(x)))
        if len(chunks) == 1:
            return stage(x)  # type: ignore[no-any-return]
        # Written in place: a list of results beside their concatenation would be twice the clip,
        # and so would a result beside what it was made of, where that has its shape.
        done: Tensor | None = None
        start = 0
        for chunk in chunks:
            part = stage(chunk)
            if done is None:
                done = x if _alike(part, x) else _empty_like(part, len(x))
            done[start : start + len(part)] = part
            start += len(part)
        assert done is not None
        return done


class FrameStage(nn.Module):
    """Layers in turn that treat each frame for itself."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.growth = math.prod(4 for layer in layers if isinstance(layer, PhaseUpsample))
        convs = [conv for conv in self.modules() if isinstance(conv, nn.Conv2d)]
        self.width = max(min(conv.in_channels, conv.out_channels) for conv in convs)

    def values_of(self, x: Tensor) -> int:
        """How many values the largest tensor within has for each frame of `x`."""
        height, width = x.shape[-2:]
        return max(self.width, x.shape[1]) * height * width * self.growth

    def forward(self, x: Tensor) -> Tensor:
        """(frame, channel, height, width)."""
        for layer in self.layers:
            x = layer(x, None) if isinstance(layer, ResnetBlock2D) else layer(x)
        return x


def split_evenly(count: int, at_most: int) -> int:
    """How many of `count` to take at a time: equally many where that is possible without taking
    less than half of `at_most`, since each other shape is another one to compile for.
    """
    at_most = max(1, min(at_most, count))
    even = max(n for n in range(1, at_most + 1) if count % n == 0)
    return even if 2 * even >= at_most else at_most


def _stages(stock: Any) -> list[nn.Module]:
    """What treats frames for themselves, up to where they are mixed, and so on in turn."""
    stages: list[nn.Module] = []
    of_frames: list[nn.Module] = []
    for layer in _layers(stock):
        if isinstance(layer, TemporalResidual):
            stages += [FrameStage(of_frames), layer]
            of_frames = []
        else:
            of_frames.append(layer)
    return [*stages, FrameStage(of_frames)]


def _layers(stock: Any) -> list[nn.Module]:
    layers: list[nn.Module] = [stock.conv_in]
    first, *others = stock.mid_block.resnets
    layers += _halves(first)
    # A decoder with one block in the middle has an attention that it never calls.
    for attention, block in zip(stock.mid_block.attentions, others, strict=False):
        layers += [attention, *_halves(block)]
    for level in stock.up_blocks:
        for block in level.resnets:
            layers += _halves(block)
        layers += [PhaseUpsample(upsample) for upsample in level.upsamplers or ()]
    return [*layers, stock.conv_norm_out, stock.conv_act, stock.conv_out]


def _halves(stock: Any) -> list[nn.Module]:
    mixing = TemporalResidual(stock.temporal_res_block, stock.time_mixer)
    return [stock.spatial_res_block, mixing]


def mix_tiles(block: TemporalResidual, clip: Tensor, tile_count: int) -> Tensor:
    """`block` of (pass=1, channel, frame, pixel), a few pixels at a time; `clip` is overwritten."""
    tiles = clip.tensor_split(tile_count, dim=-1)
    first = Moments.of(tiles, block.norm1)
    second = Moments.of((_first_half(block, tile, first) for tile in tiles), block.norm2)
    for tile in tiles:
        hidden = _first_half(block, tile, first)
        tile += block.conv2(functional.silu(second.normalize(hidden, block.norm2)))
    return clip


def _first_half(block: TemporalResidual, tile: Tensor, moments: Moments) -> Tensor:
    return block.conv_first(functional.silu(moments.normalize(tile, block.norm1)), None)


@dataclass(frozen=True)
class Moments:
    """Mean and variance of each group, (pass, group), of a clip that was seen in tiles."""

    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, tiles: Any, norm: nn.GroupNorm) -> Moments:
        """Chan et al. 1983: moments of parts put together, without the cancellation of squares."""
        counts, means, variances = [], [], []
        for tile in tiles:
            groups = _widen(tile).view(1, norm.num_groups, -1, *tile.shape[2:])
            variance, mean = torch.var_mean(groups, dim=(2, 3, 4), correction=0)
            counts.append(groups[0, 0].numel())
            means.append(mean)
            variances.append(variance)
        shares = torch.tensor(counts, device=mean.device, dtype=mean.dtype)[:, None, None]
        shares = shares / shares.sum()
        all_means = torch.stack(means)
        mean = (shares * all_means).sum(0)
        spread = torch.stack(variances) + (all_means - mean).square()
        return cls(mean, (shares * spread).sum(0))

    def normalize(self, tile: Tensor, norm: nn.GroupNorm) -> Tensor:
        """What `norm` makes of a tile of that clip."""
        width = norm.num_channels // norm.num_groups
        scale = (self.variance + norm.eps).rsqrt().repeat_interleave(width, 1) * norm.weight
        shift = norm.bias - self.mean.repeat_interleave(width, 1) * scale
        return (_widen(tile) * scale[..., None, None] + shift[..., None, None]).to(tile.dtype)


def _widen(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


def _empty_like(part: Tensor, count: int) -> Tensor:
    """(count, …) in the memory format of `part`."""
    channels_last = part.is_contiguous(memory_format=torch.channels_last)
    return torch.empty(
        (count, *part.shape[1:]),
        dtype=part.dtype,
        device=part.device,
        memory_format=torch.channels_last if channels_last else torch.contiguous_format,
    )


def _alike(part: Tensor, whole: Tensor) -> bool:
    """Whether each frame lies in memory as those of `whole` do."""
    return part.shape[1:] == whole.shape[1:] and part.stride() == whole.stride()

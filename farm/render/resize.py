"""CLIP's input picture: blurred against aliasing, then scaled, as SVD was trained with it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def resize_antialiased(picture: Tensor, side_px: int) -> Tensor:
    """`picture` (1, channel, height, width) at side_px x side_px, whatever its shape was.

    diffusers' `_resize_with_antialiasing` for one picture (pipeline_stable_video_diffusion.py,
    after kornia), bit for bit. Not imported from there: that module drags every image model's
    processors in and warns about those that are not installed.
    """
    height, width = picture.shape[-2:]
    blurred = _blur(picture, _kernel(width / side_px)[None, :])
    blurred = _blur(blurred, _kernel(height / side_px)[:, None])
    return functional.interpolate(
        blurred, size=(side_px, side_px), mode="bicubic", align_corners=True
    )


def _kernel(shrink: float) -> Tensor:
    """A Gaussian, (tap,), two sigma to each side, for a picture that shrinks `shrink` times."""
    sigma = max((shrink - 1.0) / 2.0, 0.001)
    taps = int(max(2.0 * 2 * sigma, 3)) | 1  # odd, so that it has a middle
    offset = torch.arange(taps, dtype=torch.float32) - taps // 2
    # float32 from here on: the pipeline rounds sigma before squaring it.
    weight = torch.exp(-offset.pow(2.0) / (2 * torch.tensor(sigma).pow(2.0)))
    return weight / weight.sum()


def _blur(picture: Tensor, kernel: Tensor) -> Tensor:
    """`picture` convolved with `kernel` (tap y, tap x), each channel by itself, edges reflected."""
    y, x = (taps // 2 for taps in kernel.shape)
    channels = picture.shape[1]
    padded = functional.pad(picture, [x, x, y, y], mode="reflect")
    return functional.conv2d(padded, kernel.expand(channels, 1, -1, -1), groups=channels)

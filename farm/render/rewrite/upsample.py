"""Twice the size and a 3x3 convolution, as a 2x2 convolution of the small picture.

Of the nine values under the kernel only four differ: each pixel stands there twice or more. Which
ones coincide depends on the output pixel's parity in both directions, its phase; for each phase the
nine weights add up to four. 4/9 of the products are left, and the large picture is written once.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional

from farm.render.rewrite.errors import require

PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))  # (row, column)


class PhaseUpsample(nn.Module):
    """In the place of diffusers' Upsample2D, and called in the same way."""

    def __init__(self, stock: Upsample2D) -> None:
        super().__init__()
        conv: Any = stock.conv if stock.use_conv and stock.name == "conv" else None
        plain = stock.interpolate and not stock.use_conv_transpose and stock.norm is None
        require(plain and type(conv) is nn.Conv2d, "an upsampling that is no 3x3 convolution")
        require(
            (conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
            == ((3, 3), (1, 1), (1, 1), (1, 1), 1),
            f"an upsampling with a kernel of {conv.kernel_size}",
        )
        self.stock_conv = conv
        self.conv = phase_conv(conv)

    def forward(self, hidden_states: Tensor, output_size: Any = None) -> Tensor:
        """(frame, channel, height, width) to twice that, or to `output_size`."""
        if output_size is not None:  # a size that no whole number of doublings makes
            grown = functional.interpolate(hidden_states, size=output_size, mode="nearest")
            return self.stock_conv(grown)  # type: ignore[no-any-return]
        height, width = hidden_states.shape[-2:]
        phases: Tensor = self.conv(hidden_states)
        phases = phases.view(len(phases), 4, -1, *phases.shape[2:])
        rows = []
        for row in (0, 1):
            # Its window starts a pixel later in the odd rows and columns.
            even, odd = (
                phases[:, 2 * row + column, :, row : row + height, column : column + width]
                for column in (0, 1)
            )
            rows.append(torch.stack([even, odd], dim=-1).flatten(-2))
        return torch.stack(rows, dim=-2).flatten(-3, -2)


def phase_conv(stock: nn.Conv2d) -> nn.Conv2d:
    """The 2x2 convolution whose outputs are those of the four phases in turn."""
    weight = stock.weight.detach().double()
    phases = [_fold(_fold(weight, row, dim=2), column, dim=3) for row, column in PHASES]
    with torch.device("meta"):
        conv = nn.Conv2d(stock.in_channels, 4 * stock.out_channels, 2, padding=1)
    conv.weight = nn.Parameter(torch.cat(phases).to(stock.weight.dtype))
    assert stock.bias is not None
    conv.bias = nn.Parameter(stock.bias.detach().repeat(4))
    return conv


def _fold(weight: Tensor, phase: int, dim: int) -> Tensor:
    """Three taps to two: the even phase has its own pixel under the last two, the odd the first."""
    first, middle, last = weight.unbind(dim)
    taps = [first, middle + last] if phase == 0 else [first + middle, last]
    return torch.stack(taps, dim)

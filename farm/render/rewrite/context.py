"""Cross-attention over one token, which is a constant of the clip.

SVD's UNet attends to a single token, CLIP's embedding of the picture. Softmax over one key is 1
whatever the query, so each cross-attention adds to_out(to_v(token)) to every position, at every
step (prior art: MobileVD, arXiv:2412.07583, "removing non-op computations"). All 32 of them are
computed once a clip, side by side in one row: the context. The UNet hands it through unread, and
each block cuts its own part out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn

from farm.render.rewrite.attention import check_plain
from farm.render.rewrite.errors import require


@dataclass(frozen=True)
class Part:
    """Where one block finds what it adds."""

    start: int
    width: int

    def of(self, context: Tensor) -> Tensor:
        """(…, all parts) to (…, channel)."""
        return context.narrow(-1, self.start, self.width)


class Context(nn.Module):
    """From the token to the context; filled while the UNet is rewritten."""

    def __init__(self) -> None:
        super().__init__()
        self.values = nn.ModuleList()
        self.outputs = nn.ModuleList()
        self.width = 0

    def add(self, stock: Attention) -> Part:
        """Take a cross-attention over."""
        check_plain(stock)
        require(stock.is_cross_attention, "cross-attention without a context")
        self.values.append(stock.to_v)
        output: Any = stock.to_out[0]
        part = Part(self.width, output.out_features)
        self.outputs.append(output)
        self.width += part.width
        return part

    def forward(self, token: Tensor) -> Tensor:
        """(pass, token=1, channel) to (pass, token=1, all parts), on the token's device."""
        if token.shape[1] != 1:
            raise ValueError(f"{token.shape[1]} tokens; a context is of one")
        token_here = token.to(next(self.parameters()).device)
        parts = [
            output(value(token_here))
            for value, output in zip(self.values, self.outputs, strict=True)
        ]
        return torch.cat(parts, dim=-1).to(token.device)

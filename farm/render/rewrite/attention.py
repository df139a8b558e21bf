"""Self-attention with one product for queries, keys and values."""

from __future__ import annotations

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor, nn
from torch.nn import functional

from farm.render.kernels import Kernels
from farm.render.rewrite.errors import require


class SelfAttention(nn.Module):
    """Over the tokens of each frame, or over the frames of each token."""

    def __init__(self, stock: Attention) -> None:
        super().__init__()
        check_plain(stock)
        require(not stock.is_cross_attention, "self-attention over another sequence")
        self.kernels: Kernels | None = None  # None: torch's own choice among its kernels
        self.head_count = stock.heads
        self.scale = stock.scale
        self.qkv = _stack([stock.to_q, stock.to_k, stock.to_v])
        self.out = stock.to_out[0]

    def over_tokens(self, x: Tensor) -> Tensor:
        """`x` is (frame, token, channel); each frame's tokens see one another."""
        q, k, v = self._split(x)  # (frame, token, head, width)
        seen = self._attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        return self.out(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]

    def over_frames(self, x: Tensor) -> Tensor:
        """`x` is (pass, frame, token, channel); each token sees itself in all frames of its pass.

        One call a pass: then queries, keys and values are views of one product, and nothing is
        copied to bring the frames of a token together.
        """
        parts = self._split(x)  # (pass, frame, token, head, width)
        seen = [
            self._attend(*(part.permute(1, 2, 0, 3) for part in of_pass)).permute(2, 0, 1, 3)
            for of_pass in zip(*parts, strict=True)
        ]
        return self.out(torch.stack(seen).flatten(3))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        parts: Tensor = self.qkv(x)
        return parts.view(*x.shape[:-1], 3, self.head_count, -1).unbind(-3)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Of (batch, head, position, width); the same shape."""
        if self.kernels is not None:
            return self.kernels.attend(q, k, v, self.scale)
        return functional.scaled_dot_product_attention(q, k, v, scale=self.scale)


def use_kernels(unet: nn.Module, kernels: Kernels) -> None:
    """Have every self-attention of a rewritten UNet take its kernel from `kernels`."""
    for module in unet.modules():
        if isinstance(module, SelfAttention):
            module.kernels = kernels


def check_plain(stock: Attention) -> None:
    """Raise NotRewritable unless it is projections, softmax attention and nothing more."""
    require(
        type(stock.processor) in {AttnProcessor, AttnProcessor2_0},
        f"an attention processor {type(stock.processor).__name__}",
    )
    extras = ("norm_q", "norm_k", "norm_cross", "group_norm", "spatial_norm", "add_k_proj")
    for name in extras:
        require(getattr(stock, name, None) is None, f"attention with {name}")
    require(not stock.residual_connection, "attention with a residual of its own")
    require(stock.rescale_output_factor == 1.0, "attention with a rescaled output")
    require(not stock.upcast_softmax and not stock.upcast_attention, "upcast attention")
    require(type(stock.to_out[0]) is nn.Linear, f"an output {type(stock.to_out[0]).__name__}")


def _stack(layers: list[nn.Linear]) -> nn.Linear:
    """One layer whose outputs are those of `layers` in turn."""
    first = layers[0]
    for layer in layers:
        require(type(layer) is nn.Linear, f"a projection {type(layer).__name__}")
        require((layer.bias is None) == (first.bias is None), "projections of which some have bias")
    width = sum(layer.out_features for layer in layers)
    with torch.device("meta"):
        stacked = nn.Linear(first.in_features, width, first.bias is not None)
    stacked.weight = nn.Parameter(torch.cat([layer.weight for layer in layers]).detach())
    if first.bias is not None:
        stacked.bias = nn.Parameter(torch.cat([layer.bias for layer in layers]).detach())
    return stacked

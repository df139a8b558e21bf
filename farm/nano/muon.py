"""Muon: momentum whose matrices are made orthogonal, so that no direction learns alone.

Jordan et al. 2024 (kellerjordan.github.io/posts/muon); the scale that lets it share AdamW's rates
is that of Liu et al. 2025 (arXiv:2502.16982, equation 4). torch.optim.Muon takes matrices only and
computes in bfloat16, which is slow on CPUs without it; this one takes convolutions too, in float32.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Of the quintic that drives singular values towards 1, from Jordan's post.
_QUINTIC = (3.4445, -4.775, 2.0315)
_ITERATIONS = 5
_ADAM_RMS = 0.2


class Muon(torch.optim.Optimizer):
    """For weights of several dimensions: the first is a matrix's rows, the rest its columns."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.01,
        dtype: torch.dtype = torch.float32,  # of the products; bfloat16 is enough where it is fast
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take one step; weights without a gradient stay."""
        assert closure is None
        for group in self.param_groups:
            # Matrices of one shape are one batched product.
            alike: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                if weight.grad is not None:
                    update = self._momentum(weight, group["momentum"]).flatten(1)
                    alike[update.shape].append((weight, update))
            for shape, pairs in alike.items():
                stacked = torch.stack([update for _, update in pairs])
                updates = orthogonal(stacked, self.dtype)
                rate = group["lr"] * _ADAM_RMS * math.sqrt(max(shape))
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.mul_(1 - group["lr"] * group["weight_decay"])
                    weight.sub_(update.reshape(weight.shape), alpha=rate)

    def _momentum(self, weight: Tensor, momentum: float) -> Tensor:
        """Nesterov's: the gradient as it would be one step further."""
        state = self.state[weight]
        if not state:
            state["mean"] = torch.zeros_like(weight)
        state["mean"].lerp_(weight.grad, 1 - momentum)
        ahead: Tensor = torch.lerp(weight.grad, state["mean"], momentum)  # type: ignore[arg-type]
        return ahead


def orthogonal(matrices: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """`matrices`, (matrix, row, column), with singular values between about 0.7 and 1.2."""
    tall = matrices.shape[1] > matrices.shape[2]
    x: Tensor = matrices.mT if tall else matrices
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    a, b, c = _QUINTIC
    for _ in range(_ITERATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    x = x.to(matrices.dtype)
    return x.mT if tall else x

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import nn

PRECISIONS = {torch.float64: 1e-12, torch.float32: 1e-5}


@pytest.fixture(params=PRECISIONS, ids=str)
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    return request.param


@pytest.fixture
def tolerance(dtype: torch.dtype) -> float:
    """The largest difference of a pixel whose values are about 1."""
    return PRECISIONS[dtype]


@pytest.fixture(autouse=True)
def no_gradients() -> Any:
    with torch.no_grad():
        yield


@pytest.fixture
def unet(dtype: torch.dtype) -> Any:
    """SVD-XT's own topology, narrow, with weights that make every part of it count."""
    torch.manual_seed(0)
    made = UNetSpatioTemporalConditionModel(
        sample_size=16,
        block_out_channels=(32, 64, 128, 128),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        cross_attention_dim=64,
        num_attention_heads=(2, 4, 8, 8),
        num_frames=5,
    )
    return stir(made).to(dtype).eval()


@pytest.fixture
def vae(dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    made = AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=2,
        sample_size=32,
    )
    return stir(made).to(dtype).eval()


def stir(module: nn.Module) -> nn.Module:
    """Fresh modules have blends of a half, norms of one and biases of zero: nothing to confuse."""
    for name, value in module.named_parameters():
        if "mix_factor" in name:
            value.data.normal_()
        elif "norm" in name and name.endswith("weight"):
            value.data.normal_(1, 0.3)
        elif name.endswith("bias"):
            value.data.normal_(0, 0.2)
    return module


def draw(*shape: int, dtype: torch.dtype, seed: int = 1) -> torch.Tensor:
    """The same numbers in every precision."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

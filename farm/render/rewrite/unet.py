"""A UNet with its blocks rewritten."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from diffusers.models.resnet import SpatioTemporalResBlock
from diffusers.models.transformers.transformer_temporal import TransformerSpatioTemporalModel
from diffusers.models.upsampling import Upsample2D
from torch import nn

from farm.render.rewrite.context import Context
from farm.render.rewrite.errors import require
from farm.render.rewrite.residual import Residual
from farm.render.rewrite.transformer import Transformer
from farm.render.rewrite.upsample import PhaseUpsample

Build = Callable[[Any], nn.Module]


def rewrite_unet(stock: nn.Module) -> tuple[nn.Module, Context]:
    """A UNet that is called with a context instead of the encoder's hidden states, and what makes
    that context of them. Raises NotRewritable.
    """
    context = Context()
    unet = share_weights(stock)
    replace(unet, TransformerSpatioTemporalModel, lambda found: Transformer(found, context))
    require(context.width > 0, "a UNet without transformers")
    replace(unet, SpatioTemporalResBlock, Residual)
    replace(unet, Upsample2D, PhaseUpsample)
    return unet, context


def replace(module: nn.Module, kind: type[nn.Module], build: Build) -> None:
    """Put what `build` makes of it into the place of every module of `kind`."""
    for name, child in module.named_children():
        if isinstance(child, kind):
            setattr(module, name, build(child).train(child.training))
        else:
            replace(child, kind, build)


def share_weights(module: nn.Module) -> Any:
    """A copy of the modules around the same tensors."""
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})

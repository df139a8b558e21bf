"""A VAE whose encoder is precise and whose decoder is rewritten."""

from __future__ import annotations

import copy
from typing import Any

import torch

from farm.render.rewrite.decoder import Decoder
from farm.render.rewrite.unet import share_weights


def rewrite_vae(stock: Any) -> Any:
    """In the place of diffusers' AutoencoderKLTemporalDecoder. Raises NotRewritable.

    Half an encoder overflows (SVD's says so: force_upcast), and diffusers widens the whole VAE for
    the encoding and narrows it again. This one has an encoder in float32 of its own, which stays.
    """
    vae = share_weights(stock)
    vae.decoder = Decoder(stock.decoder).eval()
    if stock.dtype in {torch.float16, torch.bfloat16}:
        vae.encoder = copy.deepcopy(stock.encoder).float()
        vae.quant_conv = copy.deepcopy(stock.quant_conv).float()
    return vae

"""What latents look like, roughly, without the decoder: each of them as one pixel.

A VAE's latents keep the place of what they stand for, and its colour is nearly a linear function
of them. That function is fitted to the model's own encoder, so that it fits any checkpoint.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from farm.render.condition import encode_image
from farm.render.load import Model
from farm.render.preview import make_jpeg, pick

_PROBE_SIDE_PX = 128
_PROBE_CELLS = (2, 4, 8, 16)  # a side: patches of one colour, and the same as gradients


def fit_colours(model: Model) -> Tensor:
    """From a latent as the UNet has it to RGB in [-1, 1]: (channel + 1, 3), the last row added.

    Least squares over a few made-up pictures. It runs the encoder once, where the engine does too:
    before the denoising, as offload moves the modules in turn.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    patches = [torch.rand((1, 3, n, n), generator=generator) * 2 - 1 for n in _PROBE_CELLS]
    side = (_PROBE_SIDE_PX, _PROBE_SIDE_PX)
    pictures = torch.cat(
        [interpolate(patch, side, mode="nearest") for patch in patches]
        + [interpolate(patch, side, mode="bilinear") for patch in patches]
    )
    latents = encode_image(model, pictures).cpu().double() * model.vae.config.scaling_factor
    pixels = interpolate(pictures, latents.shape[-2:], mode="area").double()
    # What overflows tells nothing; it must not end a clip whose decoder may well work.
    given = _rows(torch.nan_to_num(latents, nan=0.0, posinf=0.0, neginf=0.0))
    given = torch.cat([given, torch.ones_like(given[:, :1])], dim=1)
    fitted: Tensor = torch.linalg.lstsq(given, _rows(pixels)).solution
    return fitted.to(model.device, torch.float32)


def draw_preview(colours: Tensor, latents: Tensor) -> bytes:
    """A JPEG of some frames of `latents` (frame, channel, height, width), a pixel for each latent.

    Waits for the device.
    """
    picked = torch.stack([latents[index] for index in pick(len(latents))]).float()
    pixels = torch.einsum("fchw,cr->fhwr", picked, colours[:-1]) + colours[-1]
    shown = ((torch.nan_to_num(pixels) + 1) * 127.5).round().clamp(0, 255)
    return make_jpeg(shown.byte().cpu().numpy())


def _rows(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 2, 3, 1).flatten(0, 2)

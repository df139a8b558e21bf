"""What steers a clip: the picture as CLIP sees it, as the VAE sees it, and three numbers.

Order of operations and of random draws is StableVideoDiffusionPipeline.__call__'s (diffusers
0.42.1, pipeline_stable_video_diffusion.py), so that float32 gives its frames bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from torch import Tensor

from farm.render.load import Model
from farm.render.resize import resize_antialiased
from farm.render.settings import ClipSettings

CLIP_SIDE_PX = 224


@dataclass(frozen=True)
class Conditioning:
    """What the UNet is told at every step.

    `pass` is 2 with guidance (first unconditional, then conditional) and 1 without.
    """

    embedding: Tensor  # (pass, token=1, channel)
    image_latents: Tensor  # (pass, frame, channel, height, width), not scaled
    time_ids: Tensor  # (pass, 3): fps - 1, motion_bucket_id, noise_aug_strength
    guidance: Tensor | None  # (1, frame, 1, 1, 1); None: no guidance pass


def condition(
    model: Model,
    image: Image.Image,
    settings: ClipSettings,
    generator: torch.Generator,
    dtype: torch.dtype,
) -> Conditioning:
    """The conditioning of one clip. `image` has the video's size; draws the image noise.

    `dtype` is that of the numbers; what the networks see of the picture has the model's.
    """
    guidance = guidance_scales(settings, dtype)
    embedding = embed_image(model, image)
    picture = noisy_picture(image, settings.noise_aug_strength, generator)
    latents = encode_image(model, picture)
    # Cast after encoding: the encoder may have run in float32.
    latents = latents.to(embedding.dtype)
    # Stability trained on fps - 1 (generative-models, simple_video_sample.py).
    time_ids = torch.tensor(
        [[settings.fps - 1, settings.motion_bucket_id, settings.noise_aug_strength]],
        dtype=dtype,
    ).to(model.device)
    if guidance is not None:
        embedding = torch.cat([torch.zeros_like(embedding), embedding])
        latents = torch.cat([torch.zeros_like(latents), latents])
        time_ids = torch.cat([time_ids, time_ids])
    return Conditioning(
        embedding=embedding,
        image_latents=latents.unsqueeze(1).repeat(1, settings.frame_count, 1, 1, 1),
        time_ids=time_ids,
        guidance=None if guidance is None else guidance.to(model.device),
    )


def guidance_scales(settings: ClipSettings, dtype: torch.dtype) -> Tensor | None:
    """Each frame's guidance scale, (1, frame, 1, 1, 1), or None where none is above 1.

    Decided here on the CPU, once. The pipeline asks a tensor on the device at every step, which
    makes the host wait, and fails where a clip of one frame takes only the minimum, up to 1.
    """
    scales = torch.linspace(
        settings.min_guidance_scale, settings.max_guidance_scale, settings.frame_count
    ).to(dtype)
    if not bool(scales.max() > 1):
        return None
    return scales[None, :, None, None, None]


def embed_image(model: Model, image: Image.Image) -> Tensor:
    """CLIP's embedding of the picture, (1, token=1, channel), in the model's dtype."""
    picture = _to_tensor(image) * 2.0 - 1.0
    picture = (resize_antialiased(picture, CLIP_SIDE_PX) + 1.0) / 2.0
    pixels = model.feature_extractor(
        images=picture,
        do_normalize=True,
        do_center_crop=False,
        do_resize=False,
        do_rescale=False,
        return_tensors="pt",
    ).pixel_values
    pixels = pixels.to(device=model.device, dtype=model.dtype)
    embedding: Tensor = model.image_encoder(pixels).image_embeds
    return embedding.unsqueeze(1)


def noisy_picture(image: Image.Image, strength: float, generator: torch.Generator) -> Tensor:
    """The picture with its augmentation noise, (1, channel, height, width), float32 about [-1, 1].

    The clip's first random draw, on the CPU whatever the device.
    """
    picture = VaeImageProcessor.normalize(_to_tensor(image))
    noise = torch.randn(picture.shape, generator=generator, dtype=picture.dtype)
    noisy: Tensor = picture + strength * noise
    return noisy


def encode_image(model: Model, picture: Tensor) -> Tensor:
    """The VAE's latents of the picture: the mode, (1, channel, height, width), not scaled.

    A stock float16 VAE that its configuration says overflows (force_upcast, as SVD's does) encodes
    in float32 and is put back; widening and narrowing its weights changes none of them.
    """
    vae: Any = model.vae
    upcast = vae.dtype == torch.float16 and vae.config.force_upcast
    if upcast:
        vae.to(dtype=torch.float32)
    picture = picture.to(device=model.device, dtype=vae.dtype)
    latents: Tensor = vae.encode(picture).latent_dist.mode()
    if upcast:
        vae.to(dtype=torch.float16)
    return latents


def _to_tensor(image: Image.Image) -> Tensor:
    """(1, channel, height, width), float32 in [0, 1]."""
    tensor: Tensor = VaeImageProcessor.numpy_to_pt(VaeImageProcessor.pil_to_numpy(image))
    return tensor

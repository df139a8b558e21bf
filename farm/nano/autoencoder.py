"""Training of the VAE: pictures through sixteen numbers for every 4x4 pixels, and back.

First both halves in bfloat16, twice as fast. Its rounding beside the closed form's anchors is a
bias that the decoder learns to make up for, and that float32 does not have (0.06 in green, 2 dB):
so the decoder is then finished in float32, for latents that stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from farm.nano import closed_form
from farm.nano.parts import make_vae
from farm.nano.pictures import Pictures, crop, vary
from farm.nano.progress import Training, cosine

SEED = 20261121
CROP_PX = 64
BATCH = 16
START_PICTURES = 256
RATE, RESIDUAL_RATE = 2e-4, 8e-4
EMA_DECAY = 0.995
# Small enough that the latents stay sharp, large enough that they stay near zero.
KL_WEIGHT = 5e-5
L1_WEIGHT = 0.05
LATENT_NOISE = 0.02


def train_vae(
    pictures: Pictures,
    checkpoint: Path,
    *,
    step_count: int,
    device: torch.device,
    say: Callable[[str], None],
) -> Any:
    """Both halves, trained together. The decoder's temporal layers stay the identity."""
    torch.manual_seed(SEED)
    vae = make_vae()
    closed_form.image_only(vae)
    closed_form.initialise(vae, batch(pictures, START_PICTURES, np.random.default_rng(SEED)))
    vae.to(device)
    training = Training(vae, [_optimizer(vae)], step_count, checkpoint, EMA_DECAY, cosine)

    def loss_of(step: int) -> Tensor:
        torch.manual_seed(SEED + step)
        originals = batch(pictures, BATCH, np.random.default_rng((SEED, step))).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = vae.encode(originals).latent_dist
            copies = vae.decode(posterior.sample(), num_frames=1).sample.float()
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        loss: Tensor = _distance(copies, originals) + KL_WEIGHT * kl
        return loss

    training.run(loss_of, say)
    training.use_average()
    closed_form.image_only(vae, on=False)
    return vae.eval().requires_grad_(False)


def finish_decoder(
    vae: Any,
    pictures: Pictures,
    checkpoint: Path,
    *,
    step_count: int,
    device: torch.device,
    say: Callable[[str], None],
) -> None:
    """Train the decoder of `vae` further, in float32, for the latents that the encoder gives."""
    closed_form.image_only(vae)
    training = Training(
        vae.decoder, [_optimizer(vae.decoder)], step_count, checkpoint, EMA_DECAY, cosine
    )

    def loss_of(step: int) -> Tensor:
        # Other pictures than those of the same steps before.
        rng = np.random.default_rng((SEED, 1, step))
        originals = batch(pictures, BATCH, rng).to(device)
        with torch.no_grad():
            latents = vae.encode(originals).latent_dist.mode()
            # As much as a UNet's clean latents are off, so that small errors stay small.
            latents += LATENT_NOISE * torch.randn_like(latents)
        return _distance(vae.decode(latents, num_frames=1).sample, originals)

    training.run(loss_of, say)
    training.use_average()
    closed_form.image_only(vae, on=False)
    vae.requires_grad_(False)


@torch.no_grad()
def whiten(vae: Any, pictures: Pictures) -> None:
    """Give each latent unit deviation, and change no picture: the encoder's last layer is divided
    by the deviation and the decoder's first is multiplied.

    Diffusion finds what is quiet only once the noise is quieter still, where it is trained least.
    """
    originals = batch(pictures, START_PICTURES, np.random.default_rng(SEED)).to(vae.device)
    latents = torch.cat([vae.encode(part).latent_dist.mode() for part in originals.split(16)])
    deviations = latents.std((0, 2, 3))
    count = len(deviations)
    vae.quant_conv.weight[:count] /= deviations[:, None, None, None]
    vae.quant_conv.bias[:count] /= deviations
    vae.decoder.conv_in.weight *= deviations[None, :, None, None]


def _distance(copies: Tensor, originals: Tensor) -> Tensor:
    error = copies - originals
    return error.square().mean() + L1_WEIGHT * error.abs().mean()


def batch(pictures: Pictures, count: int, rng: np.random.Generator) -> Tensor:
    """Random crops, (picture, channel, height, width) in [-1, 1]."""
    crops = [vary(crop(pictures.choose(rng, CROP_PX), CROP_PX, rng), rng) for _ in range(count)]
    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _optimizer(module: Any) -> torch.optim.Optimizer:
    """The closed form set the path; the residual branches, at zero, have further to go."""
    path, residual = [], []
    for name, weight in module.named_parameters():
        if "temporal" in name or "time_" in name:
            weight.requires_grad_(False)
            continue
        weight.requires_grad_(True)
        if any(part in name for part in (".conv1.", ".conv2.", ".norm", "attentions")):
            residual.append(weight)
        else:
            path.append(weight)
    groups = [{"params": path, "lr": RATE}, {"params": residual, "lr": RESIDUAL_RATE}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=0.0)

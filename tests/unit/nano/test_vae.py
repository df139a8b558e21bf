"""The weights in the package: what their card promises, on photographs that training never saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder
from PIL import Image
from safetensors.torch import load_file

from farm.nano.train import _networks
from farm.render.folder import NANO_FOLDER

IMAGES = Path(__file__).parents[3] / "examples" / "images"


def test_training_goes_on_from_the_weights_in_this_package() -> None:
    file = NANO_FOLDER / "unet" / "diffusion_pytorch_model.safetensors"
    there = load_file(file)
    taken, fresh = _networks(fresh=False), _networks(fresh=True)

    assert all(torch.equal(w, there[n].float()) for n, w in taken.unet.state_dict().items())
    assert not torch.equal(fresh.unet.conv_in.weight, taken.unet.conv_in.weight)
    assert all(p.dtype == torch.float32 and p.requires_grad for p in taken.parameters())


# As in the card, less half a decibel: crops are cut a fraction of a pixel elsewhere there.
@pytest.mark.parametrize(
    ("name", "least_db"),
    [("astronaut.png", 26.4), ("chelsea.png", 32.4), ("coffee.png", 28.7), ("rocket.jpg", 33.2)],
)
@torch.no_grad()
def test_a_photograph_survives_the_latents(name: str, least_db: float) -> None:
    vae = AutoencoderKLTemporalDecoder.from_pretrained(
        NANO_FOLDER / "vae", torch_dtype=torch.float32
    )
    picture = Image.open(IMAGES / name).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    box = (left, top, left + side, top + side)
    square = picture.resize((128, 128), Image.Resampling.LANCZOS, box=box)
    pixels = torch.from_numpy(np.asarray(square).copy()).permute(2, 0, 1)[None] / 127.5 - 1

    latents = vae.encode(pixels).latent_dist.mode()
    copy = vae.decode(latents, num_frames=1).sample.clamp(-1, 1)

    assert latents.shape == (1, 16, 32, 32)
    assert 0.5 < float(latents.std()) < 2.0
    assert -10 * np.log10(float((copy - pixels).square().mean()) / 4) > least_db

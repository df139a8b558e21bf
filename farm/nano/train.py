"""Trains `nano` and writes it as a folder that the farm can load.

    python -m farm.nano.train --work build/nano
    farm render photo.png -o out --model build/nano/model

It goes on from the weights in this package: their VAE is taken as it is, unless --train-vae makes
another, and the UNet and the image encoder are trained further, unless --fresh begins anew. A run
that was stopped goes on where it was when the same command is given again. It uses a GPU if there
is one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from transformers import CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from farm.jobs.params import NANO, NOTES
from farm.nano import photographs
from farm.nano.autoencoder import finish_decoder, train_vae, whiten
from farm.nano.denoiser import SEED, Conditioned, train_unet
from farm.nano.pictures import Pictures
from farm.render import cpu
from farm.render.checkpoint import make_scheduler, write_checkpoint
from farm.render.folder import NANO_FOLDER, Card

VAE_STEPS = 1_150
DECODER_STEPS = 120
# Hours on a few cores; MODEL_CARD.md says how many those in this package had.
UNET_STEPS = 20_000


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(arguments)
    cpu.keep_freed_memory()
    photographs.fetch(options.work / "photographs")
    pictures = Pictures.read(options.work / "photographs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vae = _new_vae(pictures, options.work, device) if options.train_vae else _shipped_vae()
    feature_extractor = CLIPImageProcessorPil()
    networks = train_unet(
        _networks(options.fresh or options.train_vae),
        pictures,
        vae,
        feature_extractor,
        options.work / "unet.pt",
        step_count=options.steps,
        device=device,
        say=_teller("unet"),
    )
    # Half precision is half the size, and its rounding (1e-3) is far below what training left.
    parts: dict[str, Any] = {
        "unet": networks.unet.half(),
        "vae": vae.half(),
        "image_encoder": networks.image_encoder.half(),
        "scheduler": make_scheduler(),
        "feature_extractor": feature_extractor,
    }
    card = Card(NANO.width_px, NANO.height_px, NANO.step_count, NOTES[NANO.name])
    write_checkpoint(options.work / "model", parts, card)
    print(f"written to {options.work / 'model'}")
    return 0


def _networks(fresh: bool) -> Conditioned:
    torch.manual_seed(SEED)
    networks = Conditioned()
    if not fresh:
        networks.unet = UNetSpatioTemporalConditionModel.from_pretrained(
            NANO_FOLDER / "unet", torch_dtype=torch.float32
        )
        networks.image_encoder = CLIPVisionModelWithProjection.from_pretrained(
            NANO_FOLDER / "image_encoder", torch_dtype=torch.float32
        )
    return networks


def _shipped_vae() -> Any:
    vae: Any = AutoencoderKLTemporalDecoder.from_pretrained(
        NANO_FOLDER / "vae", torch_dtype=torch.float32
    )
    return vae.eval().requires_grad_(False)


def _new_vae(pictures: Pictures, work: Path, device: torch.device) -> Any:
    vae = train_vae(
        pictures, work / "vae.pt", step_count=VAE_STEPS, device=device, say=_teller("vae")
    )
    finish_decoder(
        vae,
        pictures,
        work / "decoder.pt",
        step_count=DECODER_STEPS,
        device=device,
        say=_teller("decoder"),
    )
    whiten(vae, pictures)
    vae.half().save_pretrained(work / "vae")
    return vae.float()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m farm.nano.train", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("build/nano"), help="photographs, checkpoints, the model"
    )
    parser.add_argument("--train-vae", action="store_true", help="not the one in this package")
    parser.add_argument("--fresh", action="store_true", help="not the UNet in this package")
    parser.add_argument("--steps", type=int, default=UNET_STEPS, help="of the UNet")
    return parser


def _teller(what: str) -> Callable[[str], None]:
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"{what} {time.monotonic() - start:6.0f} s  {text}", flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())

"""Trains `nano` from nothing and writes it as a folder that the farm can load.

    python -m farm.nano.train --work build/nano

A run that was stopped goes on where it was when the same command is given again. It uses a GPU if
there is one. The weights in this package were made by it; MODEL_CARD.md says how long that took.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import torch
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from farm.jobs.params import NANO, NOTES
from farm.nano import photographs
from farm.nano.autoencoder import finish_decoder, train_vae
from farm.nano.denoiser import train_unet
from farm.nano.pictures import Pictures
from farm.render import cpu
from farm.render.checkpoint import make_scheduler, write_checkpoint
from farm.render.folder import NANO_FOLDER, Card

VAE_STEPS = 1_150
DECODER_STEPS = 100
UNET_STEPS = 2_500


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit code."""
    options = _parser().parse_args(arguments)
    # As fast again on a CPU: glibc would give each tensor's memory back.
    cpu.keep_freed_memory()
    photographs.fetch(options.work / "photographs")
    pictures = Pictures.read(options.work / "photographs")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vae = train_vae(
        pictures,
        options.work / "vae.pt",
        step_count=options.vae_steps,
        device=device,
        say=_teller("vae"),
    )
    finish_decoder(
        vae,
        pictures,
        options.work / "decoder.pt",
        step_count=options.decoder_steps,
        device=device,
        say=_teller("decoder"),
    )
    feature_extractor = CLIPImageProcessorPil()
    networks = train_unet(
        pictures,
        vae,
        feature_extractor,
        options.work / "unet.pt",
        step_count=options.unet_steps,
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
    write_checkpoint(options.out, parts, card)
    print(f"written to {options.out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m farm.nano.train", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/nano"), help="checkpoints, photos")
    parser.add_argument("--out", type=Path, default=NANO_FOLDER, help="where the model goes")
    parser.add_argument("--vae-steps", type=int, default=VAE_STEPS)
    parser.add_argument("--decoder-steps", type=int, default=DECODER_STEPS)
    parser.add_argument("--unet-steps", type=int, default=UNET_STEPS)
    return parser


def _teller(what: str) -> Any:
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"{what} {time.monotonic() - start:6.0f} s  {text}", flush=True)

    return say


if __name__ == "__main__":
    sys.exit(main())

"""The model `tiny`: Stable Video Diffusion's real classes with small random weights.

Its clips are a test pattern: a colour texture that depends on the picture, the settings and the
seed, so that a farm without a GPU or Stability's weights can be tried and tested from end to end.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from farm.jobs.params import NOTES, TINY
from farm.render.checkpoint import make_scheduler, write_checkpoint
from farm.render.folder import Card

# Counts up with every change of the weights below, so that an old cache is not taken for a new one.
VERSION = 1
SEED = 20231121


def tiny_folder(cache_dir: Path) -> Path:
    """The folder of `tiny` under `cache_dir`, made on first use.

    It is built beside its place and renamed into it: two processes that race both find a whole
    folder there, and a killed one leaves no half.
    """
    final = cache_dir / f"tiny-{VERSION}"
    if final.is_dir():
        return final
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tiny-", dir=cache_dir) as scratch:
        built = Path(scratch) / final.name
        write_tiny(built)
        try:
            built.rename(final)
        except OSError:
            # A folder that is not empty is not replaced: the other process was first.
            if not final.is_dir():
                raise
    return final


def write_tiny(folder: Path) -> None:
    """Write the model into `folder` in diffusers' format."""
    card = Card(TINY.width_px, TINY.height_px, TINY.step_count, NOTES[TINY.name])
    write_checkpoint(folder, make_parts(), card)


def make_parts() -> dict[str, Any]:
    """The five components, in float32; the same weights at every call."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        unet, vae = _unet(), _vae()
        encoder = CLIPVisionModelWithProjection(_clip_config())
        _tune(unet, vae)
    return {
        "unet": unet,
        "vae": vae,
        "image_encoder": encoder,
        "scheduler": make_scheduler(),
        "feature_extractor": CLIPImageProcessorPil(),
    }


def _unet() -> Any:
    # Every width is a multiple of 32, the number of groups that diffusers hard-codes.
    return UNetSpatioTemporalConditionModel(  # type: ignore[no-untyped-call]
        sample_size=32,
        down_block_types=(
            "DownBlockSpatioTemporal",
            "CrossAttnDownBlockSpatioTemporal",
            "DownBlockSpatioTemporal",
        ),
        up_block_types=(
            "UpBlockSpatioTemporal",
            "CrossAttnUpBlockSpatioTemporal",
            "UpBlockSpatioTemporal",
        ),
        block_out_channels=(32, 64, 64),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        layers_per_block=1,
        cross_attention_dim=32,
        num_attention_heads=(1, 2, 2),
        num_frames=TINY.frame_count,
    )


def _vae() -> Any:
    return AutoencoderKLTemporalDecoder(  # type: ignore[no-untyped-call]
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        sample_size=256,
    )


def _clip_config() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=224,
        patch_size=32,
    )


def _tune(unet: nn.Module, vae: nn.Module) -> None:
    """Gains found by eye: torch's initial weights alone give a clip that is flat grey.

    The picture's half of the UNet's input outweighs the noise, so that frames resemble each other
    and move a little; the ends are louder, so that there is contrast and colour; the conditioning
    is louder, so that motion_bucket_id and fps show.
    """
    inner, outer = dict(unet.named_parameters()), dict(vae.named_parameters())
    inner["conv_in.weight"][:, :4].mul_(0.02)
    inner["conv_out.weight"].mul_(2.5)
    inner["add_embedding.linear_2.weight"].mul_(6.0)
    inner["time_embedding.linear_2.weight"].mul_(3.0)
    outer["quant_conv.weight"].mul_(4.0)
    outer["decoder.conv_out.weight"].mul_(1.3)
    between_frames = outer["decoder.time_conv_out.weight"].mul_(0.5)
    for channel in range(3):
        between_frames[channel, channel, 1] += 1.0


def default_cache_dir() -> Path:
    """`$XDG_CACHE_HOME/svdfarm`, or `~/.cache/svdfarm`: the XDG base directory specification."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The specification ignores a relative path.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "svdfarm"

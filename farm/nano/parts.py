"""The components of `nano`: Stable Video Diffusion's classes at a thousandth of its size."""

from __future__ import annotations

from typing import Any

from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

# diffusers hard-codes 32 groups in GroupNorm. With one or two channels to a group a layer cannot
# pass brightness or colour on, so the ends of the VAE and the UNet's base have three.
ENDS = 96
LATENT_CHANNELS = 16
EMBEDDING = 64
FRAME_COUNT = 14


def make_vae() -> Any:
    """Three levels: one latent pixel is 4x4 pixels. 2.4 M parameters."""
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 3,
        block_out_channels=(ENDS, 64, ENDS),
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        sample_size=128,
        scaling_factor=1.0,
        force_upcast=False,
    )


def make_unet() -> Any:
    """Three levels, attention on the middle one and at the bottom. 6.8 M parameters."""
    return UNetSpatioTemporalConditionModel(
        sample_size=32,
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
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
        block_out_channels=(ENDS, ENDS, ENDS),
        addition_time_embed_dim=32,
        projection_class_embeddings_input_dim=96,
        layers_per_block=1,
        cross_attention_dim=EMBEDDING,
        num_attention_heads=(3, 3, 3),
        num_frames=FRAME_COUNT,
    )


def make_image_encoder() -> CLIPVisionModelWithProjection:
    """What CLIP is to SVD, two layers deep and trained together with the UNet. 0.3 M parameters."""
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=EMBEDDING,
            intermediate_size=2 * EMBEDDING,
            projection_dim=EMBEDDING,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=224,
            patch_size=32,
        )
    )

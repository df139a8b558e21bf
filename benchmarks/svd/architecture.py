"""The models that are measured: SVD-XT's true architecture with random weights, and tiny."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from farm.jobs.params import SVD_XT, TINY, ModelInfo, RenderParams, resolve
from farm.render.checkpoint import make_scheduler
from farm.render.load import Model, Provenance
from farm.render.tiny import make_parts

SEED = 20231121

# unet, vae and image_encoder of stabilityai/stable-video-diffusion-img2vid-xt: their config.json.
UNET: dict[str, Any] = {
    "sample_size": 96,
    "in_channels": 8,
    "out_channels": 4,
    "down_block_types": (
        "CrossAttnDownBlockSpatioTemporal",
        "CrossAttnDownBlockSpatioTemporal",
        "CrossAttnDownBlockSpatioTemporal",
        "DownBlockSpatioTemporal",
    ),
    "up_block_types": (
        "UpBlockSpatioTemporal",
        "CrossAttnUpBlockSpatioTemporal",
        "CrossAttnUpBlockSpatioTemporal",
        "CrossAttnUpBlockSpatioTemporal",
    ),
    "block_out_channels": (320, 640, 1280, 1280),
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
    "layers_per_block": 2,
    "cross_attention_dim": 1024,
    "transformer_layers_per_block": 1,
    "num_attention_heads": (5, 10, 20, 20),
    "num_frames": 25,
}
VAE: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 768,
    "scaling_factor": 0.18215,
    "force_upcast": True,
}
CLIP: dict[str, Any] = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "projection_dim": 1024,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "hidden_act": "gelu",
}


@dataclass(frozen=True)
class Work:
    """What is measured: one model, clips of one shape."""

    info: ModelInfo
    device: torch.device
    dtype: torch.dtype
    clip_count: int  # of other images and seeds, after those that warm up

    @property
    def on_gpu(self) -> bool:
        return self.device.type == "cuda"

    def params(self, seed: int, **given: Any) -> RenderParams:
        return resolve(RenderParams(**given), self.info, seed=seed)

    def to_json(self) -> dict[str, Any]:
        info = self.info
        return {
            "model": info.name,
            "weights": "random",
            "size": f"{info.width_px}x{info.height_px}",
            "frame_count": info.frame_count,
            "step_count": info.step_count,
            "dtype": str(self.dtype).removeprefix("torch."),
            "clip_count": self.clip_count,
        }


def make_model(work: Work) -> Model:
    """The stock modules with their weights, made anew on the device; the same at every call."""
    parts = make_parts() if work.info.name == TINY.name else make_svd_xt(work.device, work.dtype)
    for name in ("unet", "vae", "image_encoder"):
        parts[name] = parts[name].to(work.device, work.dtype).eval().requires_grad_(False)
    return Model(
        info=work.info,
        **parts,
        device=work.device,
        dtype=work.dtype,
        provenance=Provenance("random weights", "", {}),
    )


def make_svd_xt(device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """The five components, with random weights that are made where they will be used."""
    meta = make_meta()
    generator = torch.Generator(device).manual_seed(SEED)
    made = {name: part.to(dtype).to_empty(device=device) for name, part in meta.items()}
    for part in made.values():
        fill(part, generator)
    return made | {"scheduler": make_scheduler(), "feature_extractor": CLIPImageProcessorPil()}


def make_meta() -> dict[str, Any]:
    """SVD-XT's three networks without their weights."""
    with torch.device("meta"):
        return {
            "unet": UNetSpatioTemporalConditionModel(**UNET),
            "vae": AutoencoderKLTemporalDecoder(**VAE),
            "image_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP)),
        }


@torch.no_grad()
def fill(module: nn.Module, generator: torch.Generator) -> None:
    """Weights that keep the variance of what they are given, so that nothing grows or fades.

    Fresh modules would not do: their blends are all a half and their biases nearly nothing.
    """
    for name, value in module.named_parameters():
        if "mix_factor" in name:
            value.normal_(generator=generator)
        elif "embedding" in name and "linear" not in name:  # CLIP's tables
            value.normal_(0, 0.02, generator=generator)
        elif value.dim() > 1:
            value.normal_(0, value[0].numel() ** -0.5, generator=generator)
        elif name.endswith("bias"):
            value.normal_(0, 0.05, generator=generator)
        else:  # of a norm
            value.normal_(1, 0.1, generator=generator)
    for name, value in module.named_buffers():
        assert name.endswith("position_ids"), name
        value.copy_(torch.arange(value.shape[-1], device=value.device))


KNOWN = {SVD_XT.name: SVD_XT, TINY.name: TINY}

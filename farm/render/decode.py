"""From a clip's latents to its pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from farm.render.errors import ClipNotFinite


def decode(vae: Any, latents: Tensor, chunk_size: int) -> Tensor:
    """Pictures (frame, channel, height, width), float32 about [-1, 1], from (frame, ...) latents.

    The decoder's temporal layers see `chunk_size` frames together, so the pixels depend on it
    (pipeline decode_latents).
    """
    dtype = next(vae.decoder.parameters()).dtype
    scaled = (1 / vae.config.scaling_factor * latents).to(dtype)
    chunks = [
        vae.decode(chunk, num_frames=chunk.shape[0]).sample for chunk in scaled.split(chunk_size)
    ]
    return torch.cat(chunks, dim=0).float()


def decode_in_float32(vae: Any, latents: Tensor, chunk_size: int) -> Tensor:
    """As `decode`, with a decoder that half precision made overflow; its weights do not change."""
    narrow = next(vae.decoder.parameters()).dtype
    vae.decoder.float()
    try:
        with torch.compiler.set_stance("force_eager"):
            return decode(vae, latents, chunk_size)
    finally:
        vae.decoder.to(narrow)


def to_frames(pictures: Tensor) -> NDArray[np.float32]:
    """(frame, height, width, channel), float32 in [0, 1], as the pipeline's output_type="np"."""
    shown = (pictures * 0.5 + 0.5).clamp(0, 1)
    frames: NDArray[np.float32] = shown.cpu().permute(0, 2, 3, 1).float().numpy()
    return frames


def count_bad(values: Tensor) -> int:
    """How many are NaN or infinite. Reads one value back from the device."""
    return int((~torch.isfinite(values)).sum())


def check_finite(values: Tensor, what: str) -> None:
    """Raise ClipNotFinite unless all are numbers. The clamp of `to_frames` hides infinity."""
    bad = count_bad(values)
    if bad:
        raise ClipNotFinite(
            f"{bad:,} of {values.numel():,} values of the clip's {what} are NaN or infinite. "
            "Try another seed, less extreme settings, or dtype float32; if it stays, "
            "the model's weights are damaged."
        )

"""The guide's memory tricks, each a setting of its own.

The third trick, a small decode_chunk_size, changes the pixels and is a parameter of the clip.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from accelerate import cpu_offload_with_hook  # type: ignore[import-untyped]

from farm.render.load import Model


@dataclass(frozen=True)
class Memory:
    """What to trade for a smaller footprint on the device.

    model_offload: each module waits in main memory and is moved to the device for its turn.
        The frames are equal, bit for bit.
    forward_chunking: the UNet's feed-forward layers run picture by picture. The frames are equal
        to within 1e-5 of [0, 1] in float32: matrix products of another shape round differently.
    """

    model_offload: bool = False
    forward_chunking: bool = False


def place(model: Model, memory: Memory) -> Callable[[], None]:
    """Put the modules where `memory` wants them; returns what to call after each clip.

    The order of the hooks is the pipeline's `model_cpu_offload_seq`: a module's first call sends
    the one before it back to main memory. What is returned sends back all.
    """
    if memory.forward_chunking:
        model.unet.enable_forward_chunking()
    modules = (model.image_encoder, model.unet, model.vae)
    if not memory.model_offload:
        for module in modules:
            module.to(model.device)
        return _nothing
    hooks: list[Any] = []
    for module in modules:
        before = hooks[-1] if hooks else None
        hooks.append(cpu_offload_with_hook(module, model.device, prev_module_hook=before)[1])

    def send_back() -> None:
        for hook in hooks:
            hook.offload()

    return send_back


def _nothing() -> None:
    """Without offload, the modules stay on the device between clips."""

"""The guide's memory tricks, each a setting of its own.

The third trick, a small decode_chunk_size, changes the pixels and is a parameter of the clip.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from accelerate import cpu_offload_with_hook  # type: ignore[import-untyped]
from torch import nn

from farm.jobs.retry import MemoryProfile
from farm.render.load import Model


@dataclass(frozen=True)
class Memory:
    """What to trade for a smaller footprint on the device.

    model_offload: each module waits in main memory and is moved to the device for its turn.
        The frames are equal, bit for bit.
    forward_chunking: the UNet's feed-forward layers run picture by picture. The frames are equal
        to within 1e-4 of [0, 1] in float32: matrix products of another shape round differently,
        by how much depends on the processor (1.2e-5 was the most that was seen).
    """

    model_offload: bool = False
    forward_chunking: bool = False

    def at(self, profile: MemoryProfile) -> Memory:
        """These settings, or smaller ones where `profile` asks for them."""
        return Memory(
            model_offload=self.model_offload or profile >= MemoryProfile.OFFLOAD,
            forward_chunking=self.forward_chunking or profile >= MemoryProfile.SMALLEST,
        )


@dataclass
class Placement:
    """Where a model's modules are between and within clips; made by `place`."""

    model: Model
    memory: Memory
    _hooks: list[Any] = field(default_factory=list)

    def after_clip(self) -> None:
        """Sends all modules back to main memory, where they wait there."""
        for hook in self._hooks:
            hook.offload()

    def undo(self) -> None:
        """Makes room for another placement of the same model."""
        for hook in self._hooks:
            hook.remove()
        for module in self.model.unet.modules():
            if hasattr(module, "set_chunk_feed_forward"):  # the UNet has no call that ends it
                module.set_chunk_feed_forward(chunk_size=None, dim=0)


def place(model: Model, memory: Memory, context: nn.Module | None = None) -> Placement:
    """Put the modules where `memory` wants them.

    `context` runs once a clip: where memory is short it runs where its weights lie.
    The order of the hooks is the pipeline's `model_cpu_offload_seq`: a module's first call sends
    the one before it back to main memory.
    """
    if memory.forward_chunking:
        model.unet.enable_forward_chunking()
    if context is not None:
        context.to("cpu" if memory.model_offload else model.device)
    modules = (model.image_encoder, model.unet, model.vae)
    hooks: list[Any] = []
    for module in modules:
        if not memory.model_offload:
            module.to(model.device)
            continue
        before = hooks[-1] if hooks else None
        hooks.append(cpu_offload_with_hook(module, model.device, prev_module_hook=before)[1])
    return Placement(model, memory, hooks)

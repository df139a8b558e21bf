"""The guide's memory tricks, each a setting of its own, and named settings of them together.

The guide's third trick, a small decode_chunk_size, changes the pixels and is a parameter of the
clip. In its place the decoder works on fewer values at once, which is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from accelerate import cpu_offload_with_hook  # type: ignore[import-untyped]
from torch import nn

from farm.jobs.retry import MemoryProfile
from farm.render.load import Model
from farm.render.rewrite.decoder import VALUES_AT_ONCE, Decoder


@dataclass(frozen=True)
class Memory:
    """What to trade for a smaller footprint on the device.

    model_offload: each module waits in main memory and is moved to the device for its turn.
        The frames are equal, bit for bit.
    forward_chunking: the UNet's feed-forward layers run picture by picture. The frames are equal
        to within 1e-4 of [0, 1] in float32: matrix products of another shape round differently,
        by how much depends on the processor (1.2e-5 was the most that was seen).
    values_at_once: how many values the rewritten decoder's largest intermediate tensor has. The
        frames are equal to within the same rounding. Stock modules decode as ever.
    """

    model_offload: bool = False
    forward_chunking: bool = False
    values_at_once: int = VALUES_AT_ONCE

    def at(self, profile: MemoryProfile) -> Memory:
        """These settings, or as many named profiles further down as `profile` says."""
        ladder = tuple(PROFILES.values())
        reached = max(step for step, named in enumerate(ladder) if self.lesser(named) == self)
        return self.lesser(ladder[min(reached + profile, len(ladder) - 1)])

    def lesser(self, other: Memory) -> Memory:
        """Of each setting the one of the two that needs less memory."""
        return Memory(
            self.model_offload or other.model_offload,
            self.forward_chunking or other.forward_chunking,
            min(self.values_at_once, other.values_at_once),
        )


# From the fastest down; an attempt that ran out of memory is followed by one with the next.
PROFILES: Mapping[str, Memory] = {
    "fast": Memory(),
    "balanced": Memory(values_at_once=2**28),
    "low": Memory(model_offload=True, forward_chunking=True, values_at_once=2**27),
}
# What each profile wants free; the last takes whatever there is.
_WANTED_BYTES = {"fast": 40 * 2**30, "balanced": 20 * 2**30}


def choose_profile(free_bytes: int | None) -> str:
    """The name of the fastest profile for so much free memory on the GPU; None: there is none."""
    if free_bytes is None:
        return "fast"
    fitting = (name for name, wanted in _WANTED_BYTES.items() if free_bytes >= wanted)
    return next(fitting, "low")


def choose_memory(named: str, asked: Memory, device: torch.device) -> tuple[str, Memory]:
    """A profile's name and how to render: as `named` says, or as `auto` by what is free.

    What `asked` asks for on top is done too.
    """
    name = choose_profile(free_bytes(device)) if named == "auto" else named
    return name, PROFILES[name].lesser(asked)


def free_bytes(device: torch.device) -> int | None:
    """What is free on a GPU now; None for another device."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


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
    if isinstance(model.vae.decoder, Decoder):
        model.vae.decoder.values_at_once = memory.values_at_once
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

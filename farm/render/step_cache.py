"""A UNet whose steps may take over what its inner blocks found at an earlier step.

Between two steps the inner blocks, which see the clip at half its size and less, change little
(DeepCache, arXiv:2312.00858). A full step runs everything. A step that is given the deep features
of a full one runs only the outermost blocks, which see the clip at its own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Told:
    """What every block is told beside the picture."""

    moment: Tensor  # (pass x frame, channel): the noise level, fps, motion and noise of the image
    context: Tensor  # (pass x frame, token=1, channel)
    indicator: Tensor  # (pass, frame), zeros: no frame is a still image


class StepCache(nn.Module):
    """diffusers' UNetSpatioTemporalConditionModel, composed anew of its own blocks.

    A full step is that class's forward (diffusers 0.42.1), operation by operation.
    """

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    @property
    def config(self) -> Any:
        """The UNet's."""
        return self.unet.config

    def enable_forward_chunking(self) -> None:
        """As the UNet's: its feed-forward layers run frame by frame."""
        self.unet.enable_forward_chunking()

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        added_time_ids: Tensor,
        deep: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The prediction for `sample`, (pass, frame, channel, height, width), and deep features.

        `deep` is what an earlier step of the same clip gave: then this one is not full, and gives
        it back.
        """
        unet, last = self.unet, self.unet.up_blocks[-1]
        told = self._tell(sample, timestep, encoder_hidden_states, added_time_ids)
        x = unet.conv_in(sample.flatten(0, 1))
        below, seen = run(unet.down_blocks[0], told, hidden_states=x)
        skips = (x, *seen)
        if deep is None:
            deep = self._inner(below, skips, told)
        own = skips[: len(last.resnets)]
        x = run(last, told, hidden_states=deep, res_hidden_states_tuple=own)
        x = unet.conv_out(unet.conv_act(unet.conv_norm_out(x)))
        return x.reshape(*sample.shape[:2], *x.shape[1:]), deep

    def _tell(self, sample: Tensor, timestep: Tensor, context: Tensor, time_ids: Tensor) -> Told:
        unet = self.unet
        pass_count, frame_count = sample.shape[:2]
        wave = unet.time_proj(timestep[None].to(sample.device).expand(pass_count))
        moment = unet.time_embedding(wave.to(sample.dtype))
        added = unet.add_time_proj(time_ids.flatten()).reshape(pass_count, -1)
        moment = moment + unet.add_embedding(added.to(moment.dtype))

        def to_frames(of_pass: Tensor) -> Tensor:
            rows = pass_count * frame_count
            return of_pass.repeat_interleave(frame_count, dim=0, output_size=rows)

        indicator = torch.zeros(pass_count, frame_count, dtype=sample.dtype, device=sample.device)
        return Told(to_frames(moment), to_frames(context), indicator)

    def _inner(self, x: Tensor, skips: tuple[Tensor, ...], told: Told) -> Tensor:
        """From the second block down to the middle, and up again as far as the last but one."""
        unet = self.unet
        # Sides that do not halve so often come back one too long; the skips have the true ones.
        uneven = any(side % 2**unet.num_upsamplers for side in skips[0].shape[2:])
        for block in unet.down_blocks[1:]:
            x, seen = run(block, told, hidden_states=x)
            skips += seen
        x = unet.mid_block(
            hidden_states=x,
            temb=told.moment,
            encoder_hidden_states=told.context,
            image_only_indicator=told.indicator,
        )
        for block in unet.up_blocks[:-1]:
            count = len(block.resnets)
            skips, own = skips[:-count], skips[-count:]
            size = skips[-1].shape[2:] if uneven else None
            given = {"hidden_states": x, "res_hidden_states_tuple": own, "upsample_size": size}
            x = run(block, told, **given)
        return x


def run(block: Any, told: Told, **given: Any) -> Any:
    """What a block of diffusers' makes of this; only some have a use for the context."""
    if getattr(block, "has_cross_attention", False):
        given["encoder_hidden_states"] = told.context
    return block(temb=told.moment, image_only_indicator=told.indicator, **given)

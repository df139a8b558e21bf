"""A UNet whose steps may take over what its inner blocks found at an earlier step.

Between two steps the inner blocks, which see the clip at an eighth of its size and less, change
little (DeepCache, arXiv:2312.00858). A full step runs everything. A step that is given the deep
features of a full one runs only the outermost layers, which see it at its own size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# How many layers of the first down block and of the last up block a step runs that is not full.
OUTER_LAYERS = 1


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

    def __init__(self, unet: Any, outer_layers: int = OUTER_LAYERS) -> None:
        super().__init__()
        self.unet = unet
        self.outer_layers = min(outer_layers, len(unet.up_blocks[-1].resnets))

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
        told = self._tell(sample, timestep, encoder_hidden_states, added_time_ids)
        x = self.unet.conv_in(sample.flatten(0, 1))
        if deep is None:
            deep, skips = self._inner(x, told)
        else:
            skips = self._outer_down(x, told)
        last = self.unet.up_blocks[-1]
        x = deep
        for index in range(len(last.resnets) - self.outer_layers, len(last.resnets)):
            x = run_layer(last, index, torch.cat([x, skips.pop()], dim=1), told)
        x = self.unet.conv_out(self.unet.conv_act(self.unet.conv_norm_out(x)))
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

    def _inner(self, x: Tensor, told: Told) -> tuple[Tensor, list[Tensor]]:
        """All down to the middle and up again, short of the outer layers; what these go on with."""
        unet, skips = self.unet, [x]
        for block in unet.down_blocks:
            x, seen = block(hidden_states=x, **arguments(block, told))
            skips += seen
        x = unet.mid_block(
            hidden_states=x,
            temb=told.moment,
            encoder_hidden_states=told.context,
            image_only_indicator=told.indicator,
        )
        # Sides that do not halve so often come back one too long; the skips have the true ones.
        uneven = any(side % 2**unet.num_upsamplers for side in skips[0].shape[2:])
        for block in unet.up_blocks[:-1]:
            count = len(block.resnets)
            skips, seen = skips[:-count], skips[-count:]
            x = block(
                hidden_states=x,
                res_hidden_states_tuple=tuple(seen),
                upsample_size=skips[-1].shape[2:] if uneven else None,
                **arguments(block, told),
            )
        last = unet.up_blocks[-1]
        for index in range(len(last.resnets) - self.outer_layers):
            x = run_layer(last, index, torch.cat([x, skips.pop()], dim=1), told)
        return x, skips

    def _outer_down(self, x: Tensor, told: Told) -> list[Tensor]:
        """What the outer layers go on with, of the first down block."""
        skips = [x]
        for index in range(self.outer_layers - 1):
            skips.append(run_layer(self.unet.down_blocks[0], index, skips[-1], told))
        return skips


def arguments(block: Any, told: Told) -> dict[str, Tensor]:
    """What a block of diffusers' is told, by the names that it has for it."""
    named = {"temb": told.moment, "image_only_indicator": told.indicator}
    if getattr(block, "has_cross_attention", False):
        named["encoder_hidden_states"] = told.context
    return named


def run_layer(block: Any, index: int, x: Tensor, told: Told) -> Tensor:
    """One layer of a block of diffusers', as the block runs it."""
    x = block.resnets[index](x, told.moment, image_only_indicator=told.indicator)
    if getattr(block, "has_cross_attention", False):
        x = block.attentions[index](
            x,
            encoder_hidden_states=told.context,
            image_only_indicator=told.indicator,
            return_dict=False,
        )[0]
    return x

"""Drafts: a clip in little, to choose an image, its crop and its motion settings by.

It shows what these make of the model. It is a sample of the motion, not a preview of the seed: the
noise that a clip starts from has the shape of its latents, so at another size the same seed is
other noise, and the whole clip moves otherwise.
"""

from __future__ import annotations

import dataclasses
import math

from farm.jobs.params import ModelInfo, RenderParams

_SIDE = 0.5
_STEPS = 0.4
# SVD halves an eighth of each side three times. Its makers' sizes are multiples of this; a model
# whose own size is none does without.
_MULTIPLE_PX = 64
_LEAST_MULTIPLE_PX = 8
_LEAST_STEPS = 4

PREFIX = "draft-"  # of a draft's file name


def draft_of(params: RenderParams, model: ModelInfo) -> RenderParams:
    """The same clip at about half its size in a fraction of its steps; as many frames.

    An eighth of the time for SVD-XT: a quarter of the pixels, 10 of 25 steps.
    """
    steps = params.step_count or model.step_count
    whole = model.width_px % _MULTIPLE_PX == model.height_px % _MULTIPLE_PX == 0
    multiple_px = _MULTIPLE_PX if whole else _LEAST_MULTIPLE_PX
    return dataclasses.replace(
        params,
        width_px=_smaller(params.width_px or model.width_px, multiple_px),
        height_px=_smaller(params.height_px or model.height_px, multiple_px),
        step_count=min(steps, max(_LEAST_STEPS, round(steps * _STEPS))),
    )


def _smaller(side_px: int, multiple_px: int) -> int:
    return min(side_px, math.ceil(side_px * _SIDE / multiple_px) * multiple_px)

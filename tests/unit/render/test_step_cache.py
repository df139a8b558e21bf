"""The fast tier against a slow reference: diffusers' UNet, whole, with its deep features put back.

In every comparison both sides run the same operations in the same order, so they are equal bit for
bit.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from farm.jobs.params import RenderParams
from farm.jobs.tiers import FULL_EVERY, Tier
from farm.render.engine import Engine
from farm.render.load import Model
from farm.render.step_cache import StepCache

LATENT_SIDES = [(8, 8), (9, 7)]  # even, and such that the UNet resizes inside


def inputs(seed: int, height: int, width: int) -> tuple[Tensor, ...]:
    """Of a UNet call of two passes and three frames."""
    draw = torch.Generator().manual_seed(seed)
    sample = torch.randn(2, 3, 8, height, width, generator=draw)
    token = torch.randn(2, 1, 32, generator=draw)
    return sample, torch.tensor(1.5), token, torch.tensor([[6.0, 127.0, 0.02]] * 2)


@pytest.mark.parametrize("sides", LATENT_SIDES, ids=str)
@torch.no_grad()
def test_a_full_step_is_diffusers_own(model: Model, sides: tuple[int, int]) -> None:
    given = inputs(1, *sides)

    ours, _ = StepCache(model.unet)(*given)

    assert torch.equal(ours, model.unet(*given, return_dict=False)[0])


@pytest.mark.parametrize("sides", LATENT_SIDES, ids=str)
@torch.no_grad()
def test_other_steps_are_the_whole_unet_with_the_deep_features_of_a_full_one(
    model: Model, sides: tuple[int, int]
) -> None:
    before, now = inputs(1, *sides), inputs(2, *sides)
    ours = StepCache(model.unet)
    plain = model.unet(*now, return_dict=False)[0]
    seen: list[Tensor] = []

    def put_back(_: nn.Module, args: tuple[()], given: dict[str, Any]) -> tuple[Any, ...]:
        """Into the place of what comes from inside."""
        seen.append(given["hidden_states"])
        return args, {**given, "hidden_states": seen[0]}

    hook = model.unet.up_blocks[-1].register_forward_pre_hook(put_back, with_kwargs=True)
    model.unet(*before, return_dict=False)
    expected = model.unet(*now, return_dict=False)[0]
    hook.remove()

    _, deep = ours(*before)
    prediction, same = ours(*now, deep)

    assert torch.equal(prediction, expected)
    assert same is deep
    assert not torch.equal(prediction, plain)


@pytest.mark.parametrize("engine", ["default", "stock"])
def test_a_fast_clip_all_of_whose_steps_are_full_is_the_exact_one(
    model: Model,
    picture: Image.Image,
    small: RenderParams,
    engine: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    params = dataclasses.replace(small, step_count=4)
    fast = dataclasses.replace(params, tier=Tier.FAST)
    made = Engine(model, engine)
    exact = made.render(picture, params).frames
    assert not np.array_equal(made.render(picture, fast).frames, exact)

    monkeypatch.setitem(FULL_EVERY, Tier.FAST, 1)

    assert np.array_equal(made.render(picture, fast).frames, exact)


@pytest.mark.parametrize("guidance", [3.0, 1.0])
@pytest.mark.parametrize("engine", ["default", "stock"])
def test_only_each_so_many_th_step_runs_the_inner_blocks(
    model: Model, picture: Image.Image, small: RenderParams, engine: str, guidance: float
) -> None:
    made = Engine(model, engine)
    unet = made.model.unet.unet
    counted = count_calls(unet)
    every, steps = FULL_EVERY[Tier.FAST], 8
    full = len(range(0, steps, every))
    params = dataclasses.replace(
        small, step_count=steps, max_guidance_scale=guidance, tier=Tier.FAST
    )

    made.render(picture, params)

    inner = ["down_blocks.1", "down_blocks.2", "mid_block", "up_blocks.0", "up_blocks.1"]
    outer = ["conv_in", "down_blocks.0", "up_blocks.2", "conv_norm_out", "conv_out"]
    assert {name: counted[name] for name in inner} == dict.fromkeys(inner, full)
    assert {name: counted[name] for name in outer} == dict.fromkeys(outer, steps)


def count_calls(unet: Any) -> Counter[str]:
    """By its name: how often each module of `unet` was called."""
    counted: Counter[str] = Counter()
    for name, module in unet.named_modules():
        module.register_forward_pre_hook(lambda *_, name=name: counted.update([name]))
    return counted


def test_a_clip_takes_nothing_over_from_the_one_before(
    model: Model, picture: Image.Image, small: RenderParams
) -> None:
    made = Engine(model)
    fast = dataclasses.replace(small, step_count=5, tier=Tier.FAST)
    first = made.render(picture, fast).frames

    made.render(picture.rotate(180), dataclasses.replace(fast, seed=9, frame_count=2))

    assert np.array_equal(made.render(picture, fast).frames, first)

"""Settings that cannot be are refused where they are made, without a farm."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from farm.jobs import params as farms
from farm.jobs.tiers import Tier
from svdfarm import Rejected, RenderParams, params, wire
from svdfarm.v1 import resources_pb2 as pb


def test_settings_ranges_and_fits_are_the_farms() -> None:
    ours, theirs = dataclasses.fields(RenderParams), dataclasses.fields(farms.RenderParams)

    assert [field.name for field in ours] == [field.name for field in theirs]
    assert {name: vars(allowed) for name, allowed in params.RANGES.items()} == {
        name: vars(allowed) for name, allowed in farms.RANGES.items()
    }
    assert list(params.FITS) == list(farms.Fit)
    assert list(params.TIERS) == list(Tier)


@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        ("width_px", 570, "is 570; allowed: a multiple of 8 from 56 to 2048"),
        ("height_px", 48, "is 48; allowed: a multiple of 8 from 56 to 2048"),
        ("fps", 7.5, "is 7.5; allowed: a whole number from 1 to 60"),
        ("fps", True, "is True; allowed: a whole number from 1 to 60"),
        ("motion_bucket_id", 256, "is 256; allowed: a whole number from 0 to 255"),
        ("noise_aug_strength", "much", "is 'much'; allowed: a number from 0 to 10"),
        ("max_guidance_scale", float("nan"), "is nan; allowed: a number from 0 to 30"),
        ("seed", 2**63, f"is {2**63}; allowed: a whole number from 0 to 2^63 - 1"),
        ("fit", "zoom", "is 'zoom'; allowed: crop, pad, stretch"),
        ("tier", "draft", "is 'draft'; allowed: exact, fast"),
        ("model", 1, "is 1; allowed: a text"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_was_given_and_what_is_allowed(
    field: str, given: object, message: str
) -> None:
    settings: dict[str, Any] = {field: given}

    with pytest.raises(Rejected) as caught:
        RenderParams(**settings)

    (violation,) = caught.value.violations
    assert (violation.field, violation.message) == (field, message)
    assert str(caught.value) == f"{field} {message}"


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(Rejected) as caught:
        RenderParams(width_px=1, fps=0, fit="zoom")

    assert [violation.field for violation in caught.value.violations] == ["width_px", "fps", "fit"]


@pytest.mark.parametrize(
    ("field", "settings"),
    [
        ("min_guidance_scale", {"min_guidance_scale": 4, "max_guidance_scale": 3}),
        ("decode_chunk_size", {"decode_chunk_size": 15, "frame_count": 14}),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    field: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(Rejected) as caught:
        RenderParams(**settings)

    assert [violation.field for violation in caught.value.violations] == [field]


def test_a_change_is_checked_too() -> None:
    with pytest.raises(Rejected, match="seed is -1"):
        dataclasses.replace(RenderParams(seed=1), seed=-1)


def test_numbers_of_numpy_are_numbers() -> None:
    taken = RenderParams(seed=np.int64(7), noise_aug_strength=np.float32(0.5))  # type: ignore[arg-type]

    message = wire.params_to_wire(taken)

    assert (message.seed, message.noise_aug_strength) == (7, 0.5)


def test_settings_that_a_later_farm_allows_are_read_from_it() -> None:
    message = pb.RenderParams(width_px=4096, model="svd-3")
    message.fit = 9  # type: ignore[assignment]

    read = wire.params_from_wire(message)

    assert (read.width_px, read.model, read.fit, read.fps) == (4096, "svd-3", "9", None)

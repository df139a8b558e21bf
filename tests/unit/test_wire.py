from __future__ import annotations

import pytest

from farm.jobs.codec import Codec
from farm.jobs.params import DEFAULTS, TINY, Fit, RenderParams, resolve
from farm.jobs.tiers import Tier
from farm.store.records import params_from_json, params_to_json
from farm.wire import WordUnknown, params_from_wire, params_to_wire
from svdfarm.v1 import resources_pb2

FULL = RenderParams(
    model="svd-xt",
    width_px=64,
    height_px=72,
    frame_count=3,
    step_count=4,
    fps=5,
    playback_fps=6,
    motion_bucket_id=0,
    noise_aug_strength=0.02,
    min_guidance_scale=1.1,
    max_guidance_scale=2.2,
    decode_chunk_size=2,
    seed=2**63 - 1,
    fit=Fit.PAD,
    codec=Codec.H264,
    crf=0,
    tier=Tier.FAST,
)


@pytest.mark.parametrize("params", [RenderParams(), FULL, DEFAULTS, resolve(FULL, TINY, 1)])
def test_params_survive_the_wire_and_the_store(params: RenderParams) -> None:
    wire = resources_pb2.RenderParams.FromString(params_to_wire(params).SerializeToString())
    assert params_from_wire(wire) == params
    resolved = resolve(params, TINY, 1)
    assert params_from_json(params_to_json(resolved)) == resolved


def test_a_version_before_tiers_reads_exact_shots_and_no_others() -> None:
    exact, fast = (resolve(RenderParams(tier=tier), TINY, 1) for tier in Tier)

    assert "tier" not in params_to_json(exact)
    assert params_to_json(fast)["tier"] == "fast"


def test_the_full_example_sets_every_field() -> None:
    assert all(value is not None for value in vars(FULL).values())


def test_an_unknown_codec_is_told() -> None:
    message = resources_pb2.RenderParams(encoding=resources_pb2.Encoding(codec="vp9"))
    with pytest.raises(WordUnknown, match=r"vp9.*h264") as caught:
        params_from_wire(message)
    assert caught.value.field == "codec"


def test_an_unknown_tier_is_told() -> None:
    with pytest.raises(WordUnknown, match=r"is 'draft'; allowed: exact, fast") as caught:
        params_from_wire(resources_pb2.RenderParams(tier="draft"))
    assert caught.value.field == "tier"

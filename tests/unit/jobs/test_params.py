from __future__ import annotations

import math

import pytest

from farm.jobs.codec import Codec
from farm.jobs.params import RANGES, SEED_MAX, SVD_XT, TINY, RenderParams, problems, resolve


@pytest.mark.parametrize("field", RANGES)
def test_both_ends_of_each_range_are_allowed_and_no_further(field: str) -> None:
    allowed = RANGES[field]
    step = allowed.multiple if allowed.whole else 0.001
    for value in (allowed.low, allowed.high):
        assert allowed.admits(int(value) if allowed.whole else float(value))
    for value in (allowed.low - step, allowed.high + step):
        assert not allowed.admits(int(value) if allowed.whole else float(value))


@pytest.mark.parametrize("value", [True, math.nan, math.inf, 7.0, 7.5, "7", None])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    assert not RANGES["fps"].admits(value)


@pytest.mark.parametrize(
    ("params", "fields"),
    [
        (RenderParams(), []),
        (RenderParams(width_px=1020), ["width_px"]),
        (RenderParams(seed=-1, crf=52), ["seed", "crf"]),
        (RenderParams(seed=SEED_MAX), []),
        (RenderParams(min_guidance_scale=3, max_guidance_scale=1), ["min_guidance_scale"]),
        (RenderParams(frame_count=14, decode_chunk_size=15), ["decode_chunk_size"]),
        (RenderParams(decode_chunk_size=15), []),
        (RenderParams(crf=99), ["crf"]),
        (RenderParams(codec=Codec.H265, crf=52), ["crf"]),
        (RenderParams(codec=Codec.AV1, crf=0), ["crf"]),
        (RenderParams(codec=Codec.AV1, crf=63), []),
        (RenderParams(codec=Codec.FFV1), []),
        *((RenderParams(codec=c, crf=17), ["crf"]) for c in (Codec.PRORES, Codec.FFV1, Codec.PNG)),
    ],
)
def test_problems_name_the_fields(params: RenderParams, fields: list[str]) -> None:
    assert [problem.field for problem in problems(params)] == fields


def test_resolve_fills_from_the_model_then_from_diffusers() -> None:
    filled = resolve(RenderParams(fps=12), SVD_XT, seed=5)
    assert (filled.width_px, filled.height_px, filled.frame_count) == (1024, 576, 25)
    assert (filled.fps, filled.playback_fps, filled.seed) == (12, 12, 5)
    assert (filled.min_guidance_scale, filled.max_guidance_scale) == (1.0, 3.0)
    assert filled.decode_chunk_size is None


def test_resolve_changes_nothing_that_was_given() -> None:
    given = resolve(RenderParams(), TINY, seed=1)
    assert resolve(given, SVD_XT, seed=2) == resolve(given, SVD_XT, seed=3)
    assert resolve(given, TINY, seed=9) == given


@pytest.mark.parametrize("codec", Codec)
def test_each_codec_has_a_crf_that_it_allows_or_none(codec: Codec) -> None:
    filled = resolve(RenderParams(codec=codec), TINY, seed=1)
    assert list(problems(filled)) == []
    assert (filled.crf is None) == (codec in {Codec.PRORES, Codec.FFV1, Codec.PNG})


def test_a_default_that_contradicts_is_a_problem_not_a_change() -> None:
    filled = resolve(RenderParams(min_guidance_scale=4.0), SVD_XT, seed=1)
    assert [problem.field for problem in problems(filled)] == ["min_guidance_scale"]

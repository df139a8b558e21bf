from __future__ import annotations

import json

import pytest

from benchmarks.bench_engine import RESULTS
from benchmarks.plot_stages import bars
from benchmarks.svd.tiers import count_steps, of_clip
from farm.jobs.params import SVD_XT


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_step_that_is_not_full_costs_less_than_half_at_svd_xts_own_shape() -> None:
    full, outer = count_steps(SVD_XT)

    assert full / 1e12 == pytest.approx(149.93, abs=0.01)
    assert outer / 1e12 == pytest.approx(64.59, abs=0.01)


@pytest.mark.parametrize(
    ("steps", "every", "expected"), [(25, 1, 250), (25, 3, 90 + 16), (1, 3, 10), (4, 3, 20 + 2)]
)
def test_the_first_step_and_each_so_many_th_after_it_is_full(
    steps: int, every: int, expected: int
) -> None:
    assert of_clip(10, 1, steps, every) == expected


def test_a_bar_is_of_what_was_measured_in_the_order_of_a_clip() -> None:
    figures = json.loads((RESULTS / "engine-cpu.json").read_text())
    drawn = dict(bars(figures))

    assert [title.split("\n")[0] for title in drawn] == ["eager", "ours"] * 2
    stages = drawn["ours\ntiny 256x144x14"]
    assert list(stages) == ["encode", "steps", "decode", "video"]
    assert stages["steps"] == pytest.approx(8 * figures["tiny"]["step_ms"]["ours"] / 1000)

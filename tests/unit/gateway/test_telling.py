"""Workers cannot tell tenants what no model is, nor take a model's own name for another one."""

from __future__ import annotations

import pytest

from farm.gateway.telling import check_progress, read_duration_s, read_models
from farm.gateway.wall import Refusal
from farm.jobs.params import SVD_XT
from farm.wire import model_to_wire
from svdfarm.v1 import resources_pb2 as pb

OWN = {"name": "our-own", "width_px": 512, "height_px": 320, "frame_count": 14, "step_count": 20}


def about(**model: object) -> pb.Worker:
    return pb.Worker(models=[pb.Model(**{**OWN, **model})])  # type: ignore[arg-type]


def test_a_model_of_ones_own_and_a_known_one_are_taken() -> None:
    known = model_to_wire(SVD_XT)
    known.identity = "a" * 64

    taken = read_models(pb.Worker(models=[pb.Model(**OWN), known]))  # type: ignore[arg-type]

    assert [model.name for model in taken] == ["our-own", "svd-xt"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "svd-xt"},
        {"name": ""},
        {"name": "a\x1b[31m"},
        {"name": "a" * 200},
        {"width_px": 0},
        {"height_px": -7},
        {"frame_count": 10**6},
        {"step_count": 0},
    ],
)
def test_a_model_that_nobody_could_render_with_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(Refusal, match=r"worker\.models has"):
        read_models(about(**wrong))


def test_a_worker_that_tells_too_much_is_refused() -> None:
    with pytest.raises(Refusal, match="allowed: 65536"):
        read_models(pb.Worker(hostname="h" * 2**20))


@pytest.mark.parametrize(("step", "count"), [(-5, -1), (3, 2), (0, 10**6), (1, 0)])
def test_steps_that_no_shot_has_are_refused(step: int, count: int) -> None:
    with pytest.raises(Refusal, match=r"progress\.step"):
        check_progress(pb.Progress(step=step, step_count=count))


def test_a_duration_stays_within_what_is_possible() -> None:
    assert [read_duration_s(told) for told in (-1.0, 2.5, 9e18)] == [0.0, 2.5, 30 * 86400.0]

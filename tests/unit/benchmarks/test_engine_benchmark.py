"""What the engine's benchmark could get wrong without a GPU to show it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import bench_engine
from benchmarks.svd.architecture import fill
from benchmarks.svd.cost import Cost, count_cost, floor_s
from benchmarks.svd.error import rmse
from benchmarks.svd.gpu import busy_within, summarize
from benchmarks.svd.results import Results, file_name
from benchmarks.svd.rewrites import UNET_REWRITES, rewrite_some
from benchmarks.svd.table import UNMEASURED, speed_table, target_table
from farm.jobs.params import SVD_XT
from farm.render.load import Model
from farm.render.rewrite.unet import rewrite_unet

TOLD: dict[str, Any] = {
    "gpu": "NVIDIA H200",
    "versions": {"torch": "2"},
    "commit": "abc",
    "command": "first",
}


def read(folder: Path) -> Any:
    return json.loads((folder / "engine-nvidia-h200.json").read_text())


def test_runs_fill_one_file_and_keep_what_they_do_not_measure(tmp_path: Path) -> None:
    first = Results(tmp_path, "NVIDIA H200")
    first.begin(**TOLD)
    first.add({"clip_s": {"eager": 12.0, "ours": 9.0}, "floor_s": 5.0})
    first.leave_out("recipe", "3 s were left")

    second = Results(tmp_path, "NVIDIA H200")
    second.begin(**{**TOLD, "command": "second"})
    second.add({"clip_s": {"recipe": 10.0, "ours": 6.0}})
    second.of_run(spent_s=7)

    figures = read(tmp_path)
    assert figures["clip_s"] == {"eager": 12.0, "recipe": 10.0, "ours": 6.0}
    assert (figures["floor_s"], figures["gpu"]) == (5.0, "NVIDIA H200")
    assert figures["command"] == "second"
    assert [run["command"] for run in figures["runs"]] == ["first", "second"]
    assert [run["left_out"] for run in figures["runs"]] == [["recipe: 3 s were left"], []]
    assert figures["runs"][1]["spent_s"] == 7


def test_a_figure_is_in_the_file_as_soon_as_it_is_known(tmp_path: Path) -> None:
    results = Results(tmp_path, "NVIDIA H200")
    results.begin(**TOLD)
    results.add({"step_ms": {"ours": 1.5}})
    assert read(tmp_path)["step_ms"] == {"ours": 1.5}
    assert [path.name for path in tmp_path.iterdir()] == ["engine-nvidia-h200.json"]


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ("NVIDIA H200", "nvidia-h200"),
        ("NVIDIA H100 80GB HBM3", "nvidia-h100-80gb-hbm3"),
        ("NVIDIA GeForce RTX 4090 (D)", "nvidia-geforce-rtx-4090-d"),
        ("cpu", "cpu"),
    ],
)
def test_a_file_has_its_gpus_name(gpu: str, expected: str) -> None:
    assert file_name(gpu) == expected


def test_svd_xt_costs_what_the_target_says() -> None:
    cost = count_cost(SVD_XT)
    told = [cost.step, cost.decode, cost.encode, cost.embed]
    assert [round(operations / 1e12, 1) for operations in told] == [159.9, 173.6, 2.6, 0.3]


def test_the_floor_is_the_operations_at_the_mean_rate() -> None:
    cost = Cost(step=160, decode=170, encode=3, embed=1)
    assert cost.of_clip(25) == 25 * 160 + 174
    assert floor_s(cost.of_clip(25), [1000.0, 1087.0]) == pytest.approx(4.0)


def test_overlapping_work_is_counted_once_and_only_within_the_window() -> None:
    kernels = [(6.0, 7.0), (0.0, 2.0), (1.5, 3.0), (1.6, 1.9), (9.0, 20.0)]
    assert busy_within(kernels, 1.0, 10.0) == pytest.approx(2.0 + 1.0 + 1.0)
    assert busy_within([], 1.0, 10.0) == 0
    assert busy_within([(0.0, 99.0)], 1.0, 10.0) == 9.0


def test_clocks_that_were_cut_off_are_dropped() -> None:
    seen = summarize(
        [[1980.0, 700.0, 60.0], [1500.0, 300.0, 50.0], [1700.0], [1900.0, 600.0, 55.0]]
    )
    assert seen["sm_mhz"] == {"median": 1900.0, "min": 1500.0, "max": 1980.0}
    assert set(seen) == {"sm_mhz", "watts", "celsius"}
    assert summarize([]) == {}


def test_the_error_is_the_root_of_the_mean_square() -> None:
    assert rmse(np.float32([0, 0, 0, 0]), np.float32([0, 2, 0, 0])) == 1.0
    assert np.isnan(rmse(np.float32([np.nan]), np.float32([0])))


def test_tables_say_what_nobody_measured() -> None:
    for table in (speed_table({}), target_table({})):
        rows = table.splitlines()[2:]
        assert all(UNMEASURED in row for row in rows)
        assert not any("None" in row or "nan" in row for row in rows)
    assert target_table({"clip_s": {"ours": 6.0}}).count(UNMEASURED) == 8


def test_targets_are_ratios_of_what_was_measured() -> None:
    figures = {
        "clip_s": {"eager": 12.0, "recipe": 9.0, "ours": 6.0},
        "floor_s": 5.0,
        "error": {"eager": 0.004, "ours": 0.002},
        "idle_fraction": 0.003,
        "start_s": 25.0,
        "profiles": {
            "fast": {"clip_s": 6.0, "held_to_gib": None, "failed": None},
            "balanced": {"held_to_gib": 22, "failed": "out of memory"},
            "low": {"clip_s": 8.4, "held_to_gib": 8, "failed": None},
        },
    }
    found = [row.split("|")[4].strip() for row in target_table(figures).splitlines()[2:]]
    assert found == [
        "2.00",
        "1.50",
        "1.20",
        "0.50",
        "0.30",
        "25.00",
        "1.40",
        "fails: out of memory",
    ]


def test_a_profile_that_nothing_held_is_not_measured() -> None:
    free = {name: {"clip_s": 1.0, "held_to_gib": None} for name in ("fast", "balanced", "low")}
    assert target_table({"profiles": free}).count(UNMEASURED) == 8


def test_weights_keep_the_size_of_what_they_are_given() -> None:
    layers = [layer for _ in range(20) for layer in (nn.Linear(256, 256), nn.LayerNorm(256))]
    deep = nn.Sequential(*layers[:-1])
    fill(deep, torch.Generator().manual_seed(0))
    x = torch.randn(64, 256, generator=torch.Generator().manual_seed(1))
    assert 0.5 < float(deep(x).detach().std()) < 2


@pytest.mark.parametrize("left_out", [*UNET_REWRITES, None])
def test_a_unet_without_one_rewrite_is_still_the_same_unet(
    model: Model, left_out: str | None
) -> None:
    token = torch.randn(2, 1, 32, generator=torch.Generator().manual_seed(1))
    sample = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(2))
    ids = torch.tensor([[6.0, 127.0, 0.02]] * 2)

    def call(unet: Any, context: Any) -> torch.Tensor:
        given = token if context is None else context(token)
        return unet(sample, torch.tensor(1.0), given, ids, return_dict=False)[0]

    with torch.no_grad():
        some, context = rewrite_some(model.unet, frozenset(UNET_REWRITES) - {left_out})
        expected = call(model.unet, None)
        assert (context is None) is (left_out == "transformer")
        assert torch.allclose(call(some, context), expected, atol=1e-5)
        if left_out is None:
            ours, own_context = rewrite_unet(model.unet)
            assert torch.equal(call(some, context), call(ours, own_context))
            assert {type(m) for m in some.modules()} == {type(m) for m in ours.modules()}
        else:
            assert {type(m) for m in some.modules()} != {
                type(m) for m in rewrite_unet(model.unet)[0].modules()
            }


def test_it_runs_here_and_fills_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--model", "tiny", "--size", "64x64x3", "--steps", "2", "--clips", "2"]
    short = ["--error-clips", "1", "--matmul-s", "0.1", "--results", str(tmp_path), "--cpu"]
    parts = "floor,eager,ours,recipe,rewrites,profiles,error"
    assert bench_engine.main([*shape, *short, "--parts", parts]) == 0

    figures = json.loads((tmp_path / "engine-cpu.json").read_text())
    assert {"gpu", "versions", "commit", "command"} <= set(figures)
    tiny = figures["tiny"]
    assert set(tiny["clip_s"]) == {"eager", "ours"}
    assert set(tiny["step_ms"]) == {"eager", "ours", "rewrites"}
    assert set(tiny["profiles"]) == {"fast", "balanced", "low"}
    assert tiny["floor_s"] > 0
    assert tiny["error"]["eager"] == 0  # it is the reference here: float32 on a CPU
    assert tiny["error"]["ours"] < 1 / 255
    assert tiny["error"]["ours_whole"] < 1 / 255
    assert tiny["error_of"]["frames_std"] > 0.01
    left_out = {said.split(":")[0] for said in figures["runs"][0]["left_out"]}
    assert left_out == {"tiny.recipe", "tiny.idle_fraction"}
    assert f"| ours | {tiny['clip_s']['ours']:.2f} |" in capsys.readouterr().out


def test_a_part_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench_engine.main(["--parts", "floor,warp"])
    assert "warp is no part; allowed: floor, eager" in capsys.readouterr().err


def test_what_does_not_fit_into_the_time_is_said(tmp_path: Path) -> None:
    arguments = ["--model", "tiny", "--size", "64x64x3", "--steps", "2", "--cpu"]
    arguments += ["--parts", "eager,ours,profiles", "--budget-s", "0", "--results", str(tmp_path)]
    assert bench_engine.main(arguments) == 0
    (run,) = json.loads((tmp_path / "engine-cpu.json").read_text())["runs"]
    assert [said.split(":")[0] for said in run["left_out"]] == [
        "tiny.eager",
        "tiny.ours",
        "tiny.profiles",
    ]

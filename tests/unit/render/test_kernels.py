"""Attention kernels chosen by measuring; a CPU has two, torch's fused one and the plain one."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch._dynamo.utils import counters
from torch.compiler import set_stance
from torch.nn.attention import SDPBackend
from torch.nn.functional import scaled_dot_product_attention

from farm.jobs.params import RenderParams
from farm.jobs.tiers import Tier
from farm.render import compile as compiling
from farm.render import kernels
from farm.render.compile import Shape
from farm.render.engine import Engine
from farm.render.errors import ParamsRejected
from farm.render.kernels import Kernels, attend_by, fastest, is_right
from farm.render.load import Model, load

SCALE = 0.25


def drawn(*shape: int, seed: int = 1) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(shape, generator=draw) for _ in range(3))


@pytest.mark.parametrize("shape", [(3, 2, 64, 16), (70, 1, 3, 32), (1, 1, 1, 8)])
def test_what_was_chosen_attends_as_torch_does(shape: tuple[int, ...]) -> None:
    given = drawn(*shape)

    found = Kernels("cpu", torch.float32, None).attend(*given, SCALE)

    assert torch.allclose(found, scaled_dot_product_attention(*given, scale=SCALE), atol=1e-6)


def test_a_kernel_that_is_wrong_is_not_chosen_however_fast(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: Counter[SDPBackend] = Counter()

    def attend(kernel: SDPBackend, q: Tensor, *others: Tensor, **_: float) -> Tensor:
        asked[kernel] += 1
        if kernel is SDPBackend.FLASH_ATTENTION:
            return q + 1
        time.sleep(0.002)
        return attend_by(kernel, q, *others)

    monkeypatch.setattr(kernels, "attend_by", attend)

    assert fastest(*drawn(2, 2, 8, 16), SCALE) is SDPBackend.MATH
    assert asked[SDPBackend.FLASH_ATTENTION] == 1


@pytest.mark.parametrize("worse", [1e-4, float("nan")])
def test_right_is_near_to_float64(worse: float) -> None:
    q, k, v = drawn(3, 2, 200, 16)
    found = scaled_dot_product_attention(q, k, v, scale=SCALE)
    spoiled = found.clone()
    spoiled[-1, -1, 0, 0] += worse * float(v.abs().max())

    assert is_right(found, q, k, v, SCALE)
    assert not is_right(spoiled, q, k, v, SCALE)


def test_the_fastest_of_those_that_are_right_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    for quick in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        monkeypatch.setattr(
            kernels, "_seconds", lambda kernel, *_, quick=quick: kernel is not quick
        )

        assert fastest(*drawn(2, 2, 8, 16), SCALE) is quick


def test_scores_that_would_fill_the_memory_are_never_written_down(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kernels, "_SCORES_LIMIT", 2 * 2 * 8 * 8 - 1)
    monkeypatch.setattr(kernels, "_seconds", lambda kernel, *_: kernel is not SDPBackend.MATH)

    assert fastest(*drawn(2, 2, 8, 16), SCALE) is SDPBackend.FLASH_ATTENTION


def test_a_layout_is_measured_once_and_remembered_by_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, other = drawn(2, 2, 8, 16), drawn(2, 2, 9, 16)
    monkeypatch.setattr(kernels, "fastest", lambda *_: SDPBackend.MATH)
    first = Kernels("A GPU", torch.float32, tmp_path)
    for _ in range(2):
        first.attend(*given, SCALE)
    Kernels("Another GPU", torch.float32, tmp_path).attend(*other, SCALE)

    measured: list[int] = []

    def measure(q: Tensor, *_: object) -> SDPBackend:
        measured.append(q.shape[2])
        return SDPBackend.MATH

    monkeypatch.setattr(kernels, "fastest", measure)
    again = Kernels("A GPU", torch.float32, tmp_path)
    again.attend(*given, SCALE)
    assert measured == []
    again.attend(*other, SCALE)
    Kernels("A GPU", torch.float16, tmp_path).attend(*given, SCALE)
    turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in given]
    again.attend(*turned, SCALE)  # the same sizes, and another way to lie in memory
    assert measured == [9, 8, 8]


@pytest.mark.parametrize("torn", ["{", "[]", '{"x": 1}', ""])
def test_a_damaged_file_is_as_none(tmp_path: Path, torn: str) -> None:
    (tmp_path / kernels.FILE).write_text(torn)

    Kernels("cpu", torch.float32, tmp_path).attend(*drawn(2, 2, 8, 16), SCALE)

    assert "2,2,8,16," in (tmp_path / kernels.FILE).read_text()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "svdfarm" / kernels.FILE


def test_a_cpu_measures_nothing_unless_it_is_told_to(
    model: Model, picture: Image.Image, small: RenderParams, cache: Path
) -> None:
    for attention in ("auto", "torch"):
        engine = Engine(model, attention=attention)
        engine.render(picture, small)
        assert engine.environment()["attention"] == "torch"
    assert not cache.exists()
    with pytest.raises(ParamsRejected, match="attention is 'best'; allowed: auto, measured, torch"):
        Engine(model, attention="best")


def test_a_clip_of_measured_kernels_is_the_same_clip(
    model: Model, picture: Image.Image, small: RenderParams, cache: Path
) -> None:
    # In float32 the rounding of two right kernels grows over the steps, as chance picks them.
    exact = in_float64(model)
    expected = Engine(exact).render(picture, small).frames
    engine = Engine(exact, attention="measured")
    frames = engine.render(picture, small).frames

    assert np.abs(frames - expected).max() <= 1e-5
    assert engine.environment()["attention"] == "measured"
    assert "MATH" in cache.read_text() or "FLASH_ATTENTION" in cache.read_text()


def in_float64(model: Model) -> Model:
    names = ("unet", "vae", "image_encoder")
    doubled = {name: copy.deepcopy(getattr(model, name)).double() for name in names}
    return dataclasses.replace(model, dtype=torch.float64, **doubled)


def test_stock_modules_have_their_own_ways(model: Model, cache: Path) -> None:
    assert Engine(model, "stock", attention="measured").environment()["attention"] == "torch"


def test_compiled_code_takes_what_was_measured(
    folder: Path,
    cache_dir: Path,
    picture: Image.Image,
    small: RenderParams,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch._dynamo.reset()
    counters.clear()
    engine = Engine(load("tiny", device="cpu", cache_dir=cache_dir), attention="measured")
    engine.compile([Shape(64, 64, 3)], backend="eager")
    graph_count = counters["stats"]["unique_graphs"]
    known = cache.read_text()

    fast = dataclasses.replace(small, step_count=4, tier=Tier.FAST)
    engine.render(picture, dataclasses.replace(fast, frame_count=2))  # measured, not compiled
    assert cache.read_text() != known
    monkeypatch.setattr(compiling, "_stance", lambda _: set_stance("fail_on_recompile"))
    engine.render(picture, fast)

    assert counters["stats"]["unique_graphs"] == graph_count
    assert not counters["graph_break"]
    torch._dynamo.reset()

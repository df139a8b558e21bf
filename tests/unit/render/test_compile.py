"""Graphs are counted with dynamo's eager backend: it traces and guards as inductor's does."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch._dynamo.eval_frame import _debug_get_cache_entry_list
from torch._dynamo.utils import counters
from torch.compiler import set_stance

from farm.jobs.params import RenderParams
from farm.jobs.retry import MemoryProfile
from farm.jobs.tiers import Tier
from farm.render import compile as compiling
from farm.render.compile import CompileCache, Progress, Shape, cache_key
from farm.render.engine import Engine
from farm.render.errors import ParamsRejected
from farm.render.load import Model, load
from farm.render.step_cache import StepCache

SMALL, OTHER = Shape(64, 64, 3), Shape(64, 64, 2)


@dataclasses.dataclass(frozen=True)
class Made:
    """An engine that compiled, and what it told while it did; tracing takes a minute."""

    engine: Engine
    told: list[Progress]
    graph_count: int


@pytest.fixture(scope="module")
def made(folder: Path, cache_dir: Path) -> Iterator[Made]:
    torch._dynamo.reset()
    counters.clear()
    engine = Engine(load("tiny", device="cpu", cache_dir=cache_dir))
    told: list[Progress] = []
    engine.compile([SMALL, OTHER], tell=told.append, backend="eager")
    yield Made(engine, told, graph_count())
    torch._dynamo.reset()


def graph_count() -> int:
    return counters["stats"]["unique_graphs"]


def test_other_images_seeds_and_settings_need_no_other_graph(
    made: Made, picture: Image.Image, small: RenderParams, model: Model
) -> None:
    assert made.graph_count > 1
    assert not counters["graph_break"]
    stock = Engine(model)
    others = [
        (picture, small),
        (picture.transpose(Image.Transpose.ROTATE_90), dataclasses.replace(small, seed=9)),
        (picture, dataclasses.replace(small, step_count=5, motion_bucket_id=3, fps=20)),
        (picture, dataclasses.replace(small, frame_count=2)),
        (picture, dataclasses.replace(small, step_count=7, tier=Tier.FAST)),
        (picture.rotate(180), dataclasses.replace(small, step_count=5, seed=2, tier=Tier.FAST)),
    ]

    for image, params in others:
        frames = made.engine.render(image, params).frames

        assert np.abs(frames - stock.render(image, params).frames).max() <= 1e-5
    assert graph_count() == made.graph_count
    assert not counters["graph_break"]


def test_no_step_of_a_known_shape_falls_back_to_uncompiled_code(
    made: Made, picture: Image.Image, small: RenderParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In service what would compile anew runs uncompiled, and nobody counts that.
    monkeypatch.setattr(compiling, "_stance", lambda _: set_stance("fail_on_recompile"))

    for tier in Tier:
        params = dataclasses.replace(small, step_count=7, seed=3, tier=tier)
        made.engine.render(picture, params)


def test_a_shape_has_a_graph_of_full_steps_and_one_of_the_others(made: Made) -> None:
    graphs = _debug_get_cache_entry_list(StepCache.forward)

    assert len(graphs) == 2 * len(made.engine._compiled.shapes)


def test_a_shape_that_is_not_on_the_menu_renders_uncompiled_and_says_so(
    made: Made,
    picture: Image.Image,
    small: RenderParams,
    model: Model,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = dataclasses.replace(small, frame_count=4)

    frames = made.engine.render(picture, other).frames

    assert np.array_equal(frames, Engine(model).render(picture, other).frames)
    assert graph_count() == made.graph_count
    told = caplog.records[-1]
    assert (told.message, told.shape) == ("engine.uncompiled", "64x64x4")
    assert told.compiled == "64x64x2, 64x64x3"


def test_a_smaller_memory_profile_and_its_end_need_no_other_graph(
    made: Made, picture: Image.Image, small: RenderParams
) -> None:
    for profile in (MemoryProfile.SMALLEST, MemoryProfile.AS_STARTED):
        made.engine.use_memory(profile)
        made.engine.render(picture, small)

    assert graph_count() == made.graph_count


def test_compilation_tells_how_far_it_is(made: Made) -> None:
    first, second = made.told

    assert (first.number, first.total, first.shape, first.left_s) == (1, 2, OTHER, None)
    assert (second.number, second.total, second.shape) == (2, 2, SMALL)
    assert second.left_s is not None
    assert str(first) == "compiling 1 of 2 (64x64x2)"
    assert str(dataclasses.replace(second, left_s=170)).endswith(", about 3 min left")


def test_a_shape_that_cannot_be_rendered_is_refused(made: Made) -> None:
    with pytest.raises(ParamsRejected, match="width_px is 66"):
        made.engine.compile([Shape(66, 64, 3)], backend="eager")


# torch's own, about modules of its own that inductor imports.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_what_inductor_compiled_is_kept_and_found_again(tmp_path: Path) -> None:
    @torch.compile
    def grow(x: torch.Tensor) -> torch.Tensor:
        return x.sin() * 2 + 1

    grow(torch.ones(8))
    cache = CompileCache(tmp_path / "compiled", "key")
    assert not cache.load()

    cache.save()

    assert cache.path.stat().st_size > 0
    assert [path.name for path in cache.path.parent.iterdir()] == ["key.bin"]
    assert cache.load()


def test_a_damaged_file_is_as_none(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path, "key")
    cache.path.write_bytes(b"torn")

    assert not cache.load()


def test_a_cache_is_of_one_gpu_model_precision_and_menu(made: Made) -> None:
    model = made.engine.model
    key = cache_key(model, [SMALL], "NVIDIA H200")

    others = {
        cache_key(model, [SMALL], "NVIDIA H100"),
        cache_key(model, [SMALL, OTHER], "NVIDIA H200"),
        cache_key(dataclasses.replace(model, dtype=torch.float16), [SMALL], "NVIDIA H200"),
    }
    assert len(others | {key}) == 4
    assert cache_key(model, [SMALL], "NVIDIA H200") == key


def test_a_compiled_engine_warms_up_for_the_models_own_shape(
    folder: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache_dir))
    engine = Engine(load("tiny", device="cpu", cache_dir=cache_dir), "compiled")
    asked: list[tuple[list[Shape], Path | None]] = []
    monkeypatch.setattr(engine, "compile", lambda shapes, kept, _: asked.append((shapes, kept)))

    engine.warm_up()

    assert asked == [([Shape(256, 144, 14)], cache_dir / "svdfarm" / "compiled")]
    assert engine.numerics.engine == "compiled"


def test_other_engines_have_nothing_to_warm_up(made: Made, model: Model) -> None:
    shapes = set(made.engine._compiled.shapes)

    for engine in (made.engine, Engine(model, "stock")):
        engine.warm_up()

    assert made.engine._compiled.shapes == shapes

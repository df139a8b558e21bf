"""The memory tricks keep the pixels, within what their docstring says."""

from __future__ import annotations

import dataclasses
import itertools
import typing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate.hooks import CpuOffload
from PIL import Image

from farm.cli.rendering import _CHOICES
from farm.cluster.service import ServiceArgs
from farm.jobs.params import RenderParams
from farm.jobs.retry import MemoryProfile
from farm.render.engine import ENGINES, Engine
from farm.render.errors import RenderCancelled
from farm.render.load import Model, load
from farm.render.memory import PROFILES, Memory, choose_memory, choose_profile
from farm.render.rewrite.decoder import Decoder


@pytest.fixture
def fresh(cache_dir: Path, folder: Path) -> Callable[[], Model]:
    """A model of one's own: these settings stay on the modules."""
    return lambda: load("tiny", device="cpu", cache_dir=cache_dir)


def moves(model: Model) -> list[tuple[str, torch.device]]:
    """Every move of a module from here on, as (name, where to)."""
    seen: list[tuple[str, torch.device]] = []

    def watch(name: str) -> None:
        module = getattr(model, name)
        move = module.to

        def to(*args: torch.device | str, **options: torch.dtype) -> object:
            if args:
                seen.append((name, torch.device(args[0])))
            return move(*args, **options)

        module.to = to

    for name in ("image_encoder", "unet", "vae"):
        watch(name)
    return seen


def chunk_sizes(engine: Engine) -> set[int | None]:
    """Of the UNet's feed-forward layers."""
    # Stock blocks keep it under another name than our feed-forward layers.
    return {
        getattr(part, "chunk_size", getattr(part, "_chunk_size", None))
        for part in engine.model.unet.modules()
        if hasattr(part, "set_chunk_feed_forward")
    }


def test_model_offload_keeps_every_bit(
    fresh: Callable[[], Model], model: Model, picture: Image.Image, small: RenderParams
) -> None:
    expected = Engine(model).render(picture, small).frames
    engine = Engine(fresh(), memory=Memory(model_offload=True))

    assert np.array_equal(engine.render(picture, small).frames, expected)
    assert np.array_equal(engine.render(picture, small).frames, expected)


def test_model_offload_fetches_each_module_for_its_turn(
    fresh: Callable[[], Model], picture: Image.Image, small: RenderParams
) -> None:
    # cpu:0 is the same memory and another name: the hooks do all that they would for a GPU.
    device = torch.device("cpu", 0)
    model = dataclasses.replace(fresh(), device=device)
    engine = Engine(model, "stock")
    seen = moves(engine.model)
    engine.use_memory(MemoryProfile.SMALLEST)
    assert {name for name, _ in seen} == {"image_encoder", "unet", "vae"}  # sent to main memory
    seen.clear()

    engine.render(picture, small)

    fetched = [name for name, where in seen if where == device]
    assert list(dict.fromkeys(fetched)) == ["image_encoder", "vae", "unet"]
    cpu = torch.device("cpu")
    assert [name for name, where in seen if where == cpu][-3:] == ["image_encoder", "unet", "vae"]


def test_rewritten_modules_are_fetched_in_turn_too(
    fresh: Callable[[], Model], model: Model, picture: Image.Image, small: RenderParams
) -> None:
    device = torch.device("cpu", 0)
    engine = Engine(dataclasses.replace(fresh(), device=device), memory=Memory(model_offload=True))
    seen = moves(engine.model)

    frames = engine.render(picture, small).frames

    fetched = [name for name, where in seen if where == device]
    assert list(dict.fromkeys(fetched)) == ["image_encoder", "vae", "unet"]
    assert np.array_equal(frames, Engine(model).render(picture, small).frames)


def test_model_offload_hands_over_in_the_pipelines_order(fresh: Callable[[], Model]) -> None:
    model = Engine(fresh(), memory=Memory(model_offload=True)).model

    hooks = [module._hf_hook for module in (model.image_encoder, model.unet, model.vae)]
    assert all(isinstance(hook, CpuOffload) for hook in hooks)
    assert [hook.prev_module_hook and hook.prev_module_hook.model for hook in hooks] == [
        None,
        model.image_encoder,
        model.unet,
    ]


def test_model_offload_sends_everything_back_after_a_cancelled_clip(
    fresh: Callable[[], Model], picture: Image.Image, small: RenderParams
) -> None:
    engine = Engine(fresh(), memory=Memory(model_offload=True))
    seen = moves(engine.model)

    with pytest.raises(RenderCancelled):
        engine.render(picture, small, cancelled=lambda: True)

    assert [name for name, _ in seen][-3:] == ["image_encoder", "unet", "vae"]


@pytest.mark.parametrize("kind", ENGINES)
def test_forward_chunking_keeps_the_pixels_within_1e_4(
    fresh: Callable[[], Model], model: Model, picture: Image.Image, small: RenderParams, kind: str
) -> None:
    engine = Engine(fresh(), kind, Memory(forward_chunking=True))
    assert chunk_sizes(engine) == {1}

    frames = engine.render(picture, small).frames

    expected = Engine(model, kind).render(picture, small).frames
    assert np.abs(frames - expected).max() <= 1e-4


def test_all_tricks_together_still_render(
    fresh: Callable[[], Model], model: Model, picture: Image.Image, small: RenderParams
) -> None:
    params = dataclasses.replace(small, decode_chunk_size=2)
    engine = Engine(fresh(), memory=Memory(model_offload=True, forward_chunking=True))

    frames = engine.render(picture, params).frames

    expected = Engine(model).render(picture, params).frames
    assert np.abs(frames - expected).max() <= 1e-4


def test_a_smaller_profile_is_taken_and_left_again(
    fresh: Callable[[], Model], model: Model, picture: Image.Image, small: RenderParams
) -> None:
    expected = Engine(model).render(picture, small).frames
    engine = Engine(fresh())
    steps = {
        MemoryProfile.AS_STARTED: "fast",
        MemoryProfile.OFFLOAD: "balanced",
        MemoryProfile.SMALLEST: "low",
    }
    for profile in (*MemoryProfile, MemoryProfile.OFFLOAD, MemoryProfile.AS_STARTED):
        engine.use_memory(profile)
        frames = engine.render(picture, small).frames
        named = PROFILES[steps[profile]]
        assert engine.memory == named
        assert engine.environment()["model_offload"] is named.model_offload
        assert engine.environment()["values_at_once"] == named.values_at_once
        assert engine.numerics.forward_chunking is named.forward_chunking
        assert engine.model.vae.decoder.values_at_once == named.values_at_once
        assert np.allclose(frames, expected, atol=1e-4)
    assert not hasattr(engine.model.unet, "_hf_hook")
    assert chunk_sizes(engine) == {None}


def test_stock_modules_take_every_profile(
    fresh: Callable[[], Model], model: Model, picture: Image.Image, small: RenderParams
) -> None:
    expected = Engine(model, "stock").render(picture, small).frames
    for memory in PROFILES.values():
        engine = Engine(fresh(), "stock", memory)
        assert not isinstance(engine.model.vae.decoder, Decoder)
        assert np.allclose(engine.render(picture, small).frames, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("started", "steps", "expected"),
    [
        ("fast", 0, "fast"),
        ("fast", 1, "balanced"),
        ("fast", 2, "low"),
        ("balanced", 0, "balanced"),
        ("balanced", 1, "low"),
        ("balanced", 2, "low"),
        ("low", 0, "low"),
        ("low", 1, "low"),
        ("low", 2, "low"),
    ],
)
def test_running_out_of_memory_goes_down_the_profiles(
    started: str, steps: int, expected: str
) -> None:
    assert PROFILES[started].at(MemoryProfile(steps)) == PROFILES[expected]


def test_settings_that_are_no_profile_are_kept_on_the_way_down() -> None:
    offloaded = Memory(model_offload=True)
    assert offloaded.at(MemoryProfile.AS_STARTED) == offloaded
    assert offloaded.at(MemoryProfile.OFFLOAD) == Memory(
        model_offload=True, values_at_once=PROFILES["balanced"].values_at_once
    )
    assert offloaded.at(MemoryProfile.SMALLEST) == PROFILES["low"]
    tinier = dataclasses.replace(PROFILES["low"], values_at_once=1)
    assert {tinier.at(profile) for profile in MemoryProfile} == {tinier}


def test_each_profile_needs_less_than_the_one_before() -> None:
    ladder = list(PROFILES.values())
    for above, below in itertools.pairwise(ladder):
        assert above != below
        assert above.lesser(below) == below


@pytest.mark.parametrize(
    ("free_gib", "expected"),
    [
        (139, "fast"),
        (40, "fast"),
        (39.9, "balanced"),
        (22, "balanced"),
        (20, "balanced"),
        (19.9, "low"),
        (0, "low"),
        (None, "fast"),
    ],
)
def test_free_memory_chooses_the_profile(free_gib: float | None, expected: str) -> None:
    free_bytes = None if free_gib is None else int(free_gib * 2**30)
    assert choose_profile(free_bytes) == expected


@pytest.mark.parametrize(
    ("named", "asked", "expected"),
    [
        ("auto", Memory(), ("fast", PROFILES["fast"])),
        ("balanced", Memory(), ("balanced", PROFILES["balanced"])),
        ("low", Memory(), ("low", PROFILES["low"])),
        (
            "balanced",
            Memory(model_offload=True),
            ("balanced", Memory(True, values_at_once=2**28)),
        ),
    ],
)
def test_a_named_profile_is_taken_with_what_is_asked_for_on_top(
    named: str, asked: Memory, expected: tuple[str, Memory]
) -> None:
    assert choose_memory(named, asked, torch.device("cpu")) == expected


def test_the_command_lines_words_are_the_profiles() -> None:
    words = typing.get_args(typing.get_type_hints(ServiceArgs)["memory"])

    assert list(words) == ["auto", *PROFILES] == list(_CHOICES["memory"])

"""The real renderer and the fake one keep the same promises."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from farm.jobs.params import SVD, TINY, RenderParams
from farm.jobs.tiers import Tier
from farm.render import ffmpeg
from farm.render.cpu import use_threads
from farm.render.engine import Engine
from farm.render.errors import ImageRejected, ParamsRejected, RenderCancelled, VideoBroken
from farm.render.fake import FakeRenderer
from farm.render.load import Model
from farm.render.memory import Memory
from farm.render.probe import probe_video
from farm.render.receipt import Numerics, Receipt, model_identity, read_receipt
from farm.render.renderer import EngineRenderer, Renderer


@pytest.fixture(params=["engine", "fake"])
def renderer(request: pytest.FixtureRequest, model: Model) -> Renderer:
    return EngineRenderer(Engine(model)) if request.param == "engine" else FakeRenderer()


def test_a_renderer_makes_a_video_with_its_receipt_inside(
    renderer: Renderer, picture_bytes: bytes, small: RenderParams, tmp_path: Path
) -> None:
    path = tmp_path / "clip.mp4"

    rendered = renderer.render(picture_bytes, small)
    video = rendered.write(path)

    facts = probe_video(path)
    assert (facts.frame_count, facts.width_px, facts.height_px, facts.fps) == (3, 64, 64, 7)
    assert (video.frame_count, video.width_px, video.height_px, video.fps) == (3, 64, 64, 7)
    assert video.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert video.size_bytes == path.stat().st_size
    assert video.durations_s["write"] > 0
    assert Receipt.from_json(read_receipt(path)) == rendered.receipt
    assert rendered.receipt.params == dataclasses.replace(small, decode_chunk_size=3)


def test_a_clip_of_other_frames_than_asked_for_is_no_video(
    picture_bytes: bytes, small: RenderParams, tmp_path: Path
) -> None:
    rendered = FakeRenderer().render(picture_bytes, small)
    short = dataclasses.replace(rendered, frames=rendered.frames[:2])

    with pytest.raises(VideoBroken, match="2 frames of 64x64; 3 of 64x64 were asked for"):
        short.write(tmp_path / "clip.mp4")


def test_a_file_that_does_not_decode_is_no_video(
    picture_bytes: bytes, small: RenderParams, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tearing = tmp_path / "ffmpeg"
    # As a disk does that loses what it was given: only what was written is torn, not what is read.
    tearing.write_text(
        f'#!/bin/sh\n{shlex.quote(ffmpeg.binary())} "$@" || exit\n'
        'for last; do :; done\ncase "$last" in file:*) truncate -s -100 "${last#file:}";; esac\n'
    )
    tearing.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(tearing))

    with pytest.raises(VideoBroken, match="does not decode"):
        FakeRenderer().render(picture_bytes, small).write(tmp_path / "clip.mp4")


def test_a_clip_can_be_written_in_another_thread(
    renderer: Renderer, picture_bytes: bytes, small: RenderParams, tmp_path: Path
) -> None:
    first = renderer.render(picture_bytes, small)
    writing = threading.Thread(target=first.write, args=[tmp_path / "clip.mp4"])
    writing.start()
    renderer.render(picture_bytes, dataclasses.replace(small, seed=9))
    writing.join()

    assert probe_video(tmp_path / "clip.mp4").frame_count == 3


def test_a_renderer_tells_progress_and_obeys_cancel(
    renderer: Renderer, picture_bytes: bytes, small: RenderParams
) -> None:
    told: list[tuple[int, int]] = []

    def on_step(done: int, total: int) -> None:
        told.append((done, total))

    renderer.render(picture_bytes, small, on_step)
    assert told == [(1, 2), (2, 2)]

    told.clear()
    with pytest.raises(RenderCancelled):
        renderer.render(picture_bytes, small, on_step, lambda: len(told) == 1)
    assert told == [(1, 2)]


def test_a_renderer_refuses_bad_input(
    renderer: Renderer, picture_bytes: bytes, small: RenderParams
) -> None:
    with pytest.raises(ImageRejected):
        renderer.render(b"no picture", small)
    with pytest.raises(ParamsRejected):
        renderer.render(picture_bytes, RenderParams())


def test_a_renderer_says_that_its_clips_are_no_real_video(renderer: Renderer) -> None:
    assert dataclasses.replace(renderer.info, identity="", tiers=()) == TINY
    assert renderer.info.tiers == ("fast",)
    assert renderer.device
    assert renderer.note


def test_the_receipt_holds_all_that_a_clip_depends_on(
    model: Model, folder: Path, picture_bytes: bytes, small: RenderParams
) -> None:
    params = dataclasses.replace(small, decode_chunk_size=2)
    renderer = EngineRenderer(Engine(model, engine="stock", memory=Memory()))

    receipt = renderer.render(picture_bytes, params).receipt

    assert receipt.params == params
    inputs, environment = receipt.inputs, receipt.environment
    assert inputs.image_sha256 == hashlib.sha256(picture_bytes).hexdigest()
    assert inputs.settings.decode_chunk_size == 2
    assert inputs.numerics == Numerics("stock", "float32", forward_chunking=False, tier="exact")
    assert inputs.model_files == {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.glob("*/*")
    }
    assert receipt.model == {
        "name": "tiny",
        "source": "built in",
        "revision": folder.name,
        "note": "random weights: a test pattern",
    }
    assert (environment["device"], environment["threads"]) == ("cpu", torch.get_num_threads())
    assert environment["model_offload"] is False
    assert environment["versions"]["torch"] == torch.__version__
    assert {"svdfarm", "diffusers", "transformers", "python", "ffmpeg"} <= set(
        environment["versions"]
    )


def test_equal_inputs_are_one_text_however_they_were_written(
    picture_bytes: bytes, small: RenderParams
) -> None:
    whole = dataclasses.replace(small, min_guidance_scale=1, decode_chunk_size=3)
    decimal = dataclasses.replace(small, min_guidance_scale=1.0, decode_chunk_size=None)

    inputs = [
        FakeRenderer().render(picture_bytes, params).receipt.to_json()["inputs"]
        for params in (whole, decimal)
    ]

    assert json.dumps(inputs[0]) == json.dumps(inputs[1])


def test_a_models_identity_is_that_of_its_files_and_numerics(model: Model) -> None:
    numerics = Numerics("default", "float32", forward_chunking=False)
    files = {"unet/config.json": "0" * 64, "vae/config.json": "1" * 64}
    backwards = dict(reversed(files.items()))
    others = [
        model_identity({**files, "unet/config.json": "2" * 64}, numerics),
        *(
            model_identity(files, dataclasses.replace(numerics, **other))
            for other in (
                {"engine": "stock"},
                {"dtype": "float16"},
                {"forward_chunking": True},
                {"tier": Tier.FAST},
            )
        ),
    ]

    assert model_identity(files, numerics) == model_identity(backwards, numerics)
    assert len({model_identity(files, numerics), *others}) == 6
    told = EngineRenderer(Engine(model)).info.identity
    assert told == model_identity(model.provenance.files, numerics)
    assert len(told) == 64


def test_a_fast_clip_says_so_in_its_receipt_and_nowhere_in_its_models_identity(
    renderer: Renderer, picture_bytes: bytes, small: RenderParams
) -> None:
    identity = renderer.info.identity

    receipt = renderer.render(picture_bytes, dataclasses.replace(small, tier=Tier.FAST)).receipt

    told = json.loads(json.dumps(receipt.to_json()))
    assert told["inputs"]["numerics"]["tier"] == "fast"
    assert Receipt.from_json(told) == receipt
    assert receipt.params.tier is Tier.FAST
    assert renderer.info.identity == identity


def test_what_was_rendered_before_there_were_tiers_is_still_known() -> None:
    numerics = Numerics("default", "float16", forward_chunking=False)

    assert model_identity({"unet/config.json": "0" * 64}, numerics) == (
        "bdec3454ed3ed8b19872b529937a894ab63cd7b347a4b98abe59ef8e0330ab1d"
    )


def test_the_fake_takes_its_time_and_any_model(picture_bytes: bytes, small: RenderParams) -> None:
    fake = FakeRenderer(SVD, step_s=0.05)

    rendered = fake.render(picture_bytes, small)

    assert fake.info == SVD
    assert rendered.durations_s["denoise"] >= 2 * 0.05
    assert 0 <= rendered.frames.min() <= rendered.frames.max() <= 1
    assert rendered.frames.std() > 0.05
    assert np.abs(np.diff(rendered.frames, axis=0)).mean() > 0.01


def test_torch_uses_the_threads_it_is_given() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        use_threads(before)


def test_memory_kept_warm_changes_no_pixel() -> None:
    code = (
        "import sys; from farm.render.cpu import keep_freed_memory\n"
        "import torch; torch.manual_seed(0)\n"
        "if sys.argv[1] == 'keep': keep_freed_memory()\n"
        "x = torch.randn(4, 32, 128, 128); w = torch.randn(32, 32, 3, 3)\n"
        "print(float(torch.nn.functional.conv2d(x, w).double().sum()))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, how], capture_output=True, text=True, check=True
        )
        for how in ("keep", "plain")
    ]
    assert said[0].stdout == said[1].stdout

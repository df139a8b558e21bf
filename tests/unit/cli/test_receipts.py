"""`farm receipt`, `farm verify` and --receipts: from a farm's video back to how it was made."""

from __future__ import annotations

import functools
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from farm.render.encode import encode
from farm.render.receipt import Receipt, read_receipt
from farm.render.tiny import write_tiny
from tests.unit.cli.conftest import Command
from tests.unit.client.running_farm import RunningFarm

JobsYaml = Callable[..., Path]
QUICK = ("--model", "tiny", "--device", "cpu", "--size", "64x72", "--frames", "2", "--steps", "1")


@pytest.fixture
def video(command: Command, photo: Path, cwd: Path) -> Path:
    """A video of the real engine, with tiny weights."""
    assert command("render", photo, "-o", "out", *QUICK, "--seed", "5").code == 0
    return cwd / "out" / "rocket.mp4"


def test_a_video_of_the_engine_is_verified(video: Path, command: Command, photo: Path) -> None:
    told = command("verify", video, "--image", photo, "--device", "cpu")
    as_json = command("verify", video, "--image", photo, "--json")

    assert (told.code, told.out) == (0, f"{video}: identical\n")
    assert as_json.code == 0
    (verdict,) = map(json.loads, as_json.lines)
    assert (verdict["identical"], verdict["differences"]) == (True, {})


def test_a_video_that_other_software_made_is_told_with_its_distance(
    video: Path, command: Command, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("farm.render.versions.__version__", "0.0.9")
    monkeypatch.setattr(
        "farm.render.engine.to_frames", lambda pictures, made=_frames: made(pictures) * 0.98
    )

    ended = command("verify", video, "--image", photo)

    assert ended.code == 2
    first, *others = ended.lines
    assert first.startswith(f"{video}: differs, PSNR ")
    assert others == ["  svdfarm: 0.1.0 in the receipt, 0.0.9 here"]


def _frames(pictures: object) -> object:
    from farm.render.decode import to_frames

    return to_frames(pictures)  # type: ignore[arg-type]


def test_another_image_and_another_model_are_refused(
    video: Path, command: Command, photo: Path, cwd: Path
) -> None:
    write_tiny(cwd / "other")
    (cwd / "other" / "scheduler" / "scheduler_config.json").write_text(
        (cwd / "other" / "scheduler" / "scheduler_config.json")
        .read_text()
        .replace("700.0", "500.0")
    )

    image = command("verify", video, "--image", photo.parent / "coffee.png")
    model = command("verify", video, "--image", photo, "--model", cwd / "other")

    assert (image.code, image.out) == (1, "")
    assert "coffee.png has SHA-256" in image.err
    assert (model.code, model.out) == (1, "")
    assert "1 of its files differ, the first scheduler/scheduler_config.json" in model.err


def test_a_video_that_cannot_be_verified_keeps_no_other_from_it(
    video: Path, command: Command, photo: Path, cwd: Path
) -> None:
    (cwd / "text.mp4").write_text("no video")
    with zipfile.ZipFile(cwd / "deep.zip", "w") as archive:
        archive.writestr("receipt.json", "[" * 100_000)

    ended = command("verify", "text.mp4", "deep.zip", video, "--image", photo)

    assert ended.code == 1
    assert ended.lines == [f"{video}: identical"]
    assert "text.mp4 is no video of the farm" in ended.err
    assert "deep.zip carries no receipt" in ended.err


def altered(video: Path, path: Path, **fields: object) -> Path:
    """The video with other fields in its receipt, by their names with __ between."""
    receipt = read_receipt(video)
    for field, value in fields.items():
        *folders, name = field.split("__")
        functools.reduce(dict.__getitem__, folders, receipt)[name] = value
    frames = np.zeros((2, 72, 64, 3), np.float32)
    encode(frames, Receipt.from_json(read_receipt(video)).params, receipt, path)
    return path


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"environment": []}, "environment is []; allowed: dict"),
        ({"environment__threads": "two"}, "environment.threads is 'two'; allowed: int | None"),
        ({"environment__threads": 10**9}, "threads is 1000000000; allowed: a whole number from 1"),
        ({"inputs__settings__step_count": 10**9}, "step_count is 1000000000; allowed"),
    ],
)
def test_a_receipt_that_cannot_be_rendered_is_told_before_anything_is_loaded(
    video: Path, command: Command, photo: Path, cwd: Path, fields: dict[str, object], told: str
) -> None:
    path = altered(video, cwd / "other.mp4", **fields)

    ended = command("verify", path, video, "--image", photo)

    assert (ended.code, ended.lines) == (1, [f"{video}: identical"])
    assert told in ended.err.splitlines()[0]


def test_what_a_receipt_says_cannot_steer_the_terminal(
    video: Path, command: Command, photo: Path, cwd: Path
) -> None:
    evil = "\x1b[2J\x9b1m\nother.mp4: identical"
    device = altered(video, cwd / "device.mp4", environment__device=evil)
    model = altered(video, cwd / "model.mp4", model__name=evil)

    told = command("verify", device, "--image", photo)
    refused = command("verify", model, "--image", photo)
    as_json = command("verify", device, "--image", photo, "--json")
    receipt = command("receipt", device)

    for ended in (told, refused, as_json, receipt):  # `command` has looked for the escape
        assert "\x9b" not in ended.out + ended.err
        lines = (ended.out + ended.err).splitlines()
        assert not [line for line in lines if line.startswith("other.mp4")]
    assert "  device: ?[2J?1m?other.mp4: identical in the receipt, cpu here" in told.lines
    assert json.loads(as_json.out)["differences"]["device"]["receipt"] == evil
    assert json.loads(receipt.out)["environment"]["device"] == evil


def test_the_image_comes_from_the_farm_where_none_is_given(
    on_farm: Command, video: Path, photo: Path, farm: RunningFarm, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    assert on_farm("submit", jobs_yaml("name: one, seed: 1")).code == 0  # uploads the image

    found = on_farm("verify", video)
    away = on_farm("verify", video, "--address", "127.0.0.1:1", "--connect-timeout", "0")

    assert (found.code, found.lines) == (0, [f"{video}: identical"])
    assert away.code == 1
    assert "give the image with --image" in away.err


def test_receipts_are_saved_beside_the_videos_and_are_those_inside(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    file = jobs_yaml("name: one, seed: 1", "name: two, seed: 2")

    submitted = on_farm("submit", file, "--receipts")

    assert submitted.code == 0
    names = ["one.json", "one.mp4", "two.json", "two.mp4"]
    assert sorted(path.name for path in (cwd / "out").iterdir()) == names
    told = on_farm("receipt", "out/one.mp4")
    assert (cwd / "out" / "one.json").read_text() == told.out
    receipt = json.loads(told.out)
    assert receipt["inputs"]["settings"]["seed"] == 1
    assert receipt["encoding"] == {"codec": "h264", "crf": 17, "playback_fps": 7}


def test_a_receipt_replaces_no_other_file_unasked(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    file = jobs_yaml("name: one, seed: 1")
    (cwd / "out").mkdir()
    (cwd / "out" / "one.json").write_text("precious")

    refused = on_farm("submit", file, "--receipts")
    kept = (cwd / "out" / "one.json").read_text()
    name = next(word for word in refused.out.split() if word.startswith("jobs/"))
    replaced = on_farm("download", name, "--out", "out", "--receipts", "--overwrite")
    again = on_farm("download", name, "--out", "out", "--receipts")

    assert (refused.code, kept) == (1, "precious")
    assert "out/one.json is there already with other content" in refused.err
    assert (replaced.code, again.code) == (0, 0)
    assert json.loads((cwd / "out" / "one.json").read_text())["format"] == "svdfarm.receipt.v1"


@pytest.mark.parametrize("codec", ["h264", "h265", "av1", "prores", "ffv1", "png"])
def test_a_job_of_any_codec_is_saved_under_its_extension_with_its_receipt(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path, codec: str
) -> None:
    file = jobs_yaml("name: one, seed: 1")
    file.write_text(file.read_text() + f"output: {{codec: {codec}, dir: {codec}}}\n")

    ended = on_farm("submit", file, "--receipts", "--json")

    assert ended.code == 0
    extension = {"prores": "mov", "ffv1": "mkv", "png": "zip"}.get(codec, "mp4")
    assert sorted(path.name for path in (cwd / codec).iterdir()) == ["one.json", f"one.{extension}"]
    (saved,) = [event for event in map(json.loads, ended.lines) if event["event"] == "saved"]
    assert saved["path"] == f"{codec}/one.{extension}"
    assert json.loads((cwd / codec / "one.json").read_text())["encoding"]["codec"] == codec


def test_what_carries_no_receipt_is_told(command: Command, photo: Path, cwd: Path) -> None:
    shutil.copy(photo, cwd / "photo.mp4")

    ended = command("receipt", "photo.mp4")
    missing = command("receipt", "nowhere.mp4")

    assert (ended.code, missing.code) == (1, 1)
    assert "photo.mp4 is no video of the farm" in ended.err
    assert "nowhere.mp4 cannot be read: No such file" in missing.err

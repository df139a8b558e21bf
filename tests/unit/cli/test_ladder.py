"""Drafts, contact sheets and promotions, against a real farm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageStat

from farm.cli.exits import CommandFailed
from farm.cli.picks import choose
from svdfarm import Client
from tests.unit.cli.conftest import Command
from tests.unit.cli.test_submit import ONE, TWO, job_name, objects
from tests.unit.client.running_farm import running_farm

JobsYaml = Callable[..., Path]
SWEEP = "name: rocket, sweep: {seed: '1-4'}"


@pytest.fixture
def full(cwd: Path, photo: Path) -> Path:
    """A jobs.yaml of four seeds at a size and steps that drafts can be smaller than."""
    path = cwd / "full.yaml"
    path.write_text(
        "defaults: {model: tiny, size: 256x192, frames: 3, steps: 10}\n"
        f"shots:\n  - {{image: {photo}, {SWEEP}}}\n"
    )
    return path


def shots_of(on_farm: Command, job: str) -> list[dict[str, object]]:
    (whole,) = objects(on_farm("show", job, "--json"))
    shots = whole["shots"]
    assert isinstance(shots, list)
    return shots


def test_a_draft_renders_small_and_makes_a_sheet(on_farm: Command, full: Path, cwd: Path) -> None:
    ended = on_farm("submit", full, "--draft")

    assert ended.code == 0
    job = job_name(ended)
    names = sorted(path.name for path in (cwd / "out").iterdir())
    assert names == [
        *[f"draft-rocket-0{n}.mp4" for n in range(1, 5)],
        f"sheet-{job.removeprefix('jobs/')}.png",
    ]
    assert f"farm promote {job} --shots N,..." in ended.err
    for shot in shots_of(on_farm, job):
        params = shot["params"]
        assert isinstance(params, dict)
        assert (params["width_px"], params["height_px"], params["step_count"]) == (128, 128, 4)
        assert params["frame_count"] == 3


def test_picks_are_promoted_with_their_images_and_seeds(
    on_farm: Command, full: Path, cwd: Path
) -> None:
    draft = job_name(on_farm("submit", full, "--draft"))
    for path in (cwd / "full.yaml", *(cwd / "out").iterdir()):
        path.unlink()

    ended = on_farm("promote", draft, "--shots", "2,4", "--size", "256x192", "--steps", "10")

    assert ended.code == 0
    assert sorted(p.name for p in (cwd / "out").iterdir()) == ["rocket-02.mp4", "rocket-04.mp4"]
    before, after = shots_of(on_farm, draft), shots_of(on_farm, job_name(ended))
    assert [shot["image"] for shot in after] == [before[n]["image"] for n in (1, 3)]
    for shot, drafted in zip(after, (before[1], before[3]), strict=True):
        params, small = shot["params"], drafted["params"]
        assert isinstance(params, dict)
        assert isinstance(small, dict)
        sizes = {"width_px": 256, "height_px": 192, "step_count": 10}
        assert params == small | sizes


def test_without_a_size_picks_get_the_models_own(on_farm: Command, full: Path) -> None:
    draft = job_name(on_farm("submit", full, "--draft"))
    made = job_name(on_farm("promote", draft, "--shots", "rocket-03", "--detach"))
    (shot,) = shots_of(on_farm, made)
    params = shot["params"]
    assert isinstance(params, dict)
    assert (params["width_px"], params["height_px"]) == (256, 144)
    assert params["seed"] == 3


def test_a_sheet_shows_frames_of_every_clip(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE, TWO)))

    made = on_farm("sheet", job, "--out", "pictures/all.png")
    of_one = on_farm("sheet", job, "--out", "one.jpg", "--shots", "two", "--frames", "2")
    again = on_farm("sheet", job, "--out", "one.jpg")

    assert (made.code, of_one.code) == (0, 0)
    with Image.open(cwd / "pictures" / "all.png") as both, Image.open(cwd / "one.jpg") as one:
        assert both.width > one.width > 2 * 192
        assert both.height > 2 * 192
        # Frames of the two clips, not paper: each has colours of its own.
        first = both.crop((10, 30, 190, 190))
        assert max(ImageStat.Stat(first).stddev) > 3
    assert again.code == 1
    assert "one.jpg is there already" in again.err


def test_a_sheet_says_which_shots_failed(
    command: Command, jobs_yaml: JobsYaml, tmp_path: Path
) -> None:
    with running_farm(tmp_path) as farm:
        farm.add_worker(fails=True)
        job = job_name(command("submit", jobs_yaml(ONE), "--address", farm.address))
        made = command("sheet", job, "--address", farm.address, "-o", "sheet.png")
    assert made.code == 0
    assert (tmp_path / "sheet.png").is_file()


def test_picks_that_are_not_there_are_refused(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    refused = on_farm("promote", job, "--shots", "1,5")
    assert refused.code == 1
    assert "--shots has '5'; allowed: numbers from 1 to 1" in refused.err


def test_a_size_that_is_none_is_refused(on_farm: Command, jobs_yaml: JobsYaml) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    assert "--size is 'big'" in on_farm("promote", job, "--shots", "1", "--size", "big").err


def test_a_kind_of_picture_that_nobody_writes_is_refused(
    on_farm: Command, jobs_yaml: JobsYaml, cwd: Path
) -> None:
    job = job_name(on_farm("submit", jobs_yaml(ONE)))
    refused = on_farm("sheet", job, "-o", "sheet.doc")
    assert refused.code == 1
    assert "allowed: .png, .jpg, .webp" in refused.err
    assert not (cwd / "sheet.doc").exists()


def test_ranges_and_names_choose_in_the_jobs_order(on_farm: Command, full: Path) -> None:
    job = job_name(on_farm("submit", full, "--detach"))
    with Client(os.environ["FARM_ADDRESS"]) as client:
        shots = list(client.job(job).shots())
    assert [s.display_name for s in choose(shots, "4, 1-2")] == [
        "rocket-01",
        "rocket-02",
        "rocket-04",
    ]
    assert [s.display_name for s in choose(shots, "rocket-03")] == ["rocket-03"]
    with pytest.raises(CommandFailed, match="has '5'"):
        choose(shots, "1-9")
